"""A panel that could never keep anything is told before the run, in one sentence."""

from __future__ import annotations

import pytest

from gpa.curation.consensus.config import impossible
from gpa.curation.consensus.stage import ConsensusConfig
from gpa.curation.doctor import findings
from gpa.curation.pipeline import build_stages, read_pipeline
from gpa.runtime.storage import Store
from tests.runs import pipelines

SPOKEN = {"any": None, "other": None, "en": frozenset({"en"}), "de": frozenset({"de", "fr"})}


@pytest.mark.parametrize(
    ("panels", "says"),
    [
        ({"en": {"voters": ["any", "en"]}}, None),
        ({"eng": {"voters": ["any", "en"], "verifier": "other"}}, None),
        ({"de": {"voters": ["en"]}}, "of its voters none can hear 'de'"),
        ({"de": {"voters": ["any", "en"]}}, "of its voters any can hear 'de'"),
        ({"de": {"voters": ["any", "other"], "verifier": "en"}}, "verifier en does not speak 'de'"),
        # One voter is enough where a verifier stands for the other, and it must hear him.
        ({"fr": {"voters": ["any"], "verifier": "de", "verifier_replaces_voter": True}}, None),
        (
            {"fr": {"voters": ["any"], "verifier": "en", "verifier_replaces_voter": True}},
            "consensus.min_voters is 2",
        ),
        # What no panel is for is heard and dropped, by whoever can.
        ({"en": {"voters": ["any", "en"]}, "default": {"voters": ["any"]}}, None),
        (
            {"en": {"voters": ["any", "en"]}, "default": {"voters": ["en"]}},
            "consensus.panels.default: its voters speak only languages",
        ),
    ],
)
def test_a_panel_that_can_never_be_chosen_is_named(panels: dict, says: str | None):
    found = list(impossible(ConsensusConfig(panels=panels).panels, 2, SPOKEN))
    assert [says in each for each in found] == [True] if says else found == []


def test_the_doctor_asks_the_models_what_they_speak(tmp_path):
    def german(laptop: dict) -> None:
        panel = {"voters": ["whisper-base", "whisper-tiny-en"]}
        laptop["consensus"]["panels"]["deu"] = panel

    (tmp_path / "out").mkdir()

    def with_text(laptop: dict) -> None:
        laptop["consensus"]["given"] = "vote"  # makes up for a voter
        german(laptop)

    for change, problem in ((lambda _: None, None), (german, "'de'"), (with_text, None)):
        file = pipelines(tmp_path, change)
        config = read_pipeline(file, "laptop")
        found = findings(build_stages(config), Store(str(tmp_path / "out")), config.resources)
        (panels,) = (each for each in found if each.subject == "consensus/panels")
        assert (problem in panels.problem) if problem else panels.problem is None
