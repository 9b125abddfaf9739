"""Language codes: however a language is written, it is one."""

from __future__ import annotations

import pytest

from gpa.curation.consensus.stage import ConsensusConfig
from gpa.curation.models.asr.whisper import WhisperConfig
from gpa.curation.text.languages import folded
from gpa.runtime.config import parse
from gpa.runtime.errors import UserError

PANEL = {"voters": ["a", "b"]}


@pytest.mark.parametrize(
    ("code", "language"),
    [
        *((code, "en") for code in ("en", "EN", "en-US", "en_GB", "eng", "eng_Latn", " en ")),
        *((code, "zh") for code in ("zh", "cmn", "zh-Hans-CN", "chi", "zho")),
        *((code, "de") for code in ("deu", "ger", "de-AT")),
        *((code, "no") for code in ("no", "nb", "nor", "nb-NO")),
        ("yue", "yue"), ("iw", "he"), ("swh", "sw"), ("tgl", "tl"), ("aaa", "aaa"),
    ],
)  # fmt: skip
def test_codes_of_bcp_47_and_iso_639_are_folded(code: str, language: str):
    assert folded(code) == language


@pytest.mark.parametrize("code", ["english", "qq", "xyz", "und", "mul", "", "-", "<b>", "é"])
def test_what_is_no_language_is_refused(code: str):
    with pytest.raises(ValueError, match="is no language"):
        folded(code)


def test_panels_go_by_language_and_not_by_how_the_config_writes_it():
    panels = {"eng": PANEL, "de-AT": PANEL, False: PANEL, "default": PANEL}
    config = parse(ConsensusConfig, {"panels": panels}, "here")
    assert list(config.panels) == ["en", "de", "no", "default"]
    assert WhisperConfig(weights="wheel:base", languages=["EN", False]).languages == ("en", "no")


@pytest.mark.parametrize(
    ("panels", "says"),
    [
        ({"en": PANEL, "en-US": PANEL}, "'en' and 'en-US' are one language"),
        ({"klingon": PANEL}, "'klingon' is no language"),
        ({1: PANEL}, "1 is no language"),
    ],
)
def test_a_panel_that_could_never_be_chosen_is_one_sentence(panels: dict, says: str):
    with pytest.raises(UserError, match=says):
        parse(ConsensusConfig, {"panels": panels}, "here")
