"""What Qwen3-ASR does that no other recogniser does."""

from __future__ import annotations

from transformers.models.qwen3_asr.processing_qwen3_asr import LANGUAGE_CODE_TO_NAME

from gpa.curation.consensus.hallucination import longest_loop
from gpa.curation.models.asr.qwen3_asr import NAMES
from gpa.curation.models.protocols import ASR, Hypothesis
from gpa.curation.text.languages import folded
from tests.curation.models.asr.samples import sample_clip

RATE = 16000


def test_what_is_repeated_stays_to_be_seen(qwen: ASR):
    # Random weights loop by themselves.
    (heard,) = qwen.transcribe([sample_clip("en/counting")], RATE, ["en"])
    assert isinstance(heard, Hypothesis)
    assert longest_loop(heard.text) > 20
    hidden = qwen._processor.parse_output(heard.text)["transcription"]
    assert longest_loop(hidden) < 20


def test_the_names_of_languages_are_those_of_the_model():
    theirs = {folded(code): name for code, name in LANGUAGE_CODE_TO_NAME.items() if code != "yue"}
    assert theirs == NAMES


def test_another_language_fails_alone(qwen: ASR):
    clip = sample_clip("en/counting")
    refused, heard = qwen.transcribe([clip, clip], RATE, ["mt", "zh"])
    assert isinstance(refused, ValueError)
    assert isinstance(heard, Hypothesis)
    assert heard.language == "zh"
