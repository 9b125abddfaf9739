"""Omnilingual ASR: all that needs no fairseq2, held against what its own package publishes.

The model itself is not run here: its library wants 7 GB of its own (docs/environments.md).
"""

from __future__ import annotations

import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml

from gpa.curation.models.asr.omnilingual import (
    LANGUAGES,
    Omnilingual,
    OmnilingualConfig,
    asset_cards,
    download_urls,
    model_language,
)
from gpa.curation.transcribe.stage import TranscribeConfig
from gpa.runtime.config import parse
from gpa.runtime.errors import UserError


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """The package as published, without what it needs."""
    folder = tmp_path_factory.mktemp("omnilingual")
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps",
         "--target", str(folder), "omnilingual-asr==0.2.0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if installed.returncode:
        pytest.skip(f"pip can't get omnilingual-asr: {installed.stderr.strip().splitlines()[-1]}")
    return folder / "omnilingual_asr"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    for name in ("omniASR-LLM-1B-v2.pt", "omniASR_tokenizer_written_v2.model"):
        (tmp_path / name).write_bytes(b"not a real one")
    return tmp_path


def test_every_code_is_one_that_the_model_knows(package):
    published = runpy.run_path(str(package / "models/wav2vec2_llama/lang_ids.py"))
    assert set(LANGUAGES.values()) <= set(published["supported_langs"])


def test_all_languages_of_whisper_have_a_code_but_two():
    if find_spec("faster_whisper") is None:
        pytest.skip("faster-whisper is not installed")
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    assert set(_LANGUAGE_CODES) - LANGUAGES.keys() == {"nn", "sa"}


def test_the_files_of_every_card_are_where_the_package_says(package):
    documents = [
        card
        for file in sorted((package / "cards/models").glob("*.yaml"))
        for card in yaml.safe_load_all(file.read_text())
    ]
    cards = {card["name"]: card for card in documents}
    usable = [name for name in cards if "_CTC_" in name or "_LLM_" in name]
    usable.remove("omniASR_LLM_7B_ZS")  # zero-shot: wants examples with every utterance
    assert len(usable) == 20
    for name in usable:
        assert OmnilingualConfig(weights="folder", card=name).card == name
        tokenizer = cards[cards[name]["tokenizer_ref"]]["tokenizer"]
        assert download_urls(name) == (cards[name]["checkpoint"], tokenizer)


@pytest.mark.parametrize(
    "card", ["omniASR_W2V_1B", "omniASR_LLM_7B_ZS", "omniASR_LLM_Unlimited_1B"]
)
def test_a_card_that_transcribes_nothing_alone_is_refused(card):
    content = {
        "identifier": "a",
        "asr": {"a": {"model": "omnilingual", "weights": ".", "card": card}},
    }
    with pytest.raises(UserError, match=r"asr\.a\.omnilingual\.card"):
        parse(TranscribeConfig, content, "here")


def test_our_card_takes_all_but_the_files_from_the_published_one(checkpoint):
    model, tokenizer = yaml.safe_load_all(asset_cards("omniASR_LLM_1B_v2", checkpoint))
    assert model == {
        "name": "gpa_omniASR_LLM_1B_v2",
        "base": "omniASR_LLM_1B_v2",
        "checkpoint": str(checkpoint / "omniASR-LLM-1B-v2.pt"),
        "tokenizer_ref": tokenizer["name"],
    }
    assert tokenizer["tokenizer"] == str(checkpoint / "omniASR_tokenizer_written_v2.model")


def test_two_checkpoints_in_a_folder_are_not_guessed_between(checkpoint):
    (checkpoint / "another.pt").touch()
    with pytest.raises(UserError, match=r"has 2 files \*\.pt"):
        asset_cards("omniASR_LLM_1B_v2", checkpoint)


def test_a_library_that_is_not_here_is_sent_to_its_own_environment(checkpoint):
    with pytest.raises(UserError, match="name its python in this model's `environment`"):
        Omnilingual(OmnilingualConfig(weights=str(checkpoint))).facts()


def test_weights_that_are_nowhere_name_the_authors_addresses(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    with pytest.raises(UserError, match=r"omniASR-CTC-300M\.pt and .*omniASR_tokenizer\.model"):
        Omnilingual(OmnilingualConfig(weights="/nowhere", card="omniASR_CTC_300M")).facts()


def test_clips_of_more_than_40_s_are_refused_and_silence_is_empty(checkpoint):
    adapter = Omnilingual(OmnilingualConfig(weights=str(checkpoint)))
    long, silent = (
        np.full(seconds * 100, level, np.float32) for seconds, level in ((41, 1), (1, 0))
    )
    refused, empty = adapter.transcribe([long, silent], 100, ["en", "de"])
    assert "more than the 40 s" in str(refused)
    assert (empty.text, empty.language) == ("", "de")


def test_languages_are_told_in_the_models_own_codes():
    assert [model_language(code) for code in ("en", "zh", "jw", None)] == [
        "eng_Latn", "cmn_Hans", "jav_Latn", None,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no code for the language 'nn'"):
        model_language("nn")
