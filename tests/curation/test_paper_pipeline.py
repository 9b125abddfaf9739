"""The paper's pipeline: who votes on which language, in the config, the models and the docs."""

from __future__ import annotations

import re

import pytest
from faster_whisper.tokenizer import _LANGUAGE_CODES

from gpa.curation.models.asr import omnilingual, qwen3_asr, seamless
from gpa.curation.models.nemo import GRANARY_LANGUAGES
from gpa.curation.pipeline import build_stages, read_pipeline
from tests.runs import ROOT

SPOKEN = {
    "whisper-large-v3": frozenset(_LANGUAGE_CODES),
    "parakeet": GRANARY_LANGUAGES,
    "canary": GRANARY_LANGUAGES,
    "qwen3-asr": frozenset(qwen3_asr.NAMES),
    "seamless": frozenset(seamless.CODES),
    "omnilingual": frozenset(omnilingual.LANGUAGES),
}
PAPER = read_pipeline(ROOT / "pipelines.yaml", "paper")
PANELS = PAPER.consensus.panels


@pytest.mark.parametrize("language", sorted(PANELS))
def test_every_voter_speaks_the_language_it_votes_on(language: str):
    for voter in PANELS[language].voters:
        assert language in SPOKEN[voter], voter


@pytest.mark.parametrize("language", sorted(PANELS))
def test_every_panel_has_the_least_number_of_voters(language: str):
    assert len(PANELS[language].voters) >= PAPER.consensus.min_voters


def test_nobody_who_speaks_a_language_is_left_out():
    for language, panel in PANELS.items():
        able = {asr for asr, spoken in SPOKEN.items() if language in spoken}
        assert able == set(panel.voters), language


def test_the_languages_that_agreement_is_normalised_for_have_panels():
    normalised = {"en", "zh", "ja", "ko", "de", "fr", "es", "it", "pt", "ru", "ar", "hi"}
    assert normalised <= PANELS.keys()


def test_the_table_in_the_docs_is_the_config():
    text = (ROOT / "docs" / "panel.md").read_text(encoding="utf-8")
    told = {}
    for languages, voters in re.findall(r"^\| ((?:[a-z]{2} )+)\| ([^|]+) \|$", text, re.MULTILINE):
        for language in languages.split():
            told[language] = tuple(voter.strip() for voter in voters.split(","))
    assert told == {language: panel.voters for language, panel in PANELS.items()}


def test_the_pipeline_has_the_stages_of_the_recipe_and_all_the_papers_recognisers():
    made = [stage.name for stage in build_stages(PAPER)]
    heard = [f"hypotheses/{asr}" for asr in PAPER.transcribe.order]
    assert made == [
        *("normalized", "denoised", "utterances", "quality"),
        *heard,
        *("consensus", "alignment"),
    ]
    # The paper's five, and Qwen3-ASR.
    assert len(heard) == 6
