"""Mixed shows are a corpus whose truth is where it says, and the same every time."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gpa.eval.labels.truth import Truth, read_truth
from gpa.eval.studies import mixes
from tests.curation.sounds import tone

CLIPS = 4
SPOKEN_S = 3.0


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips a folder, each with half a second of silence on both sides; one of them is in `raw`."""
    root = tmp_path_factory.mktemp("speech")
    silence = np.zeros(mixes.RATE // 2, np.float32)
    lines = []
    for folder in sorted({name for folders, _ in mixes.SHOWS.values() for name in folders}):
        (root / folder).mkdir()
        for number in range(CLIPS):
            path, text = f"{folder}/{number}.wav", f"Number {number}, of {folder}."
            clip = np.concatenate([silence, tone(SPOKEN_S, mixes.RATE), silence])
            soundfile.write(root / path, clip, mixes.RATE)
            line = {"path": path, "text": text, "language": "en", "speaker": f"{number}"}
            lines.append(json.dumps(line | {"duration_s": len(clip) / mixes.RATE}))
    (root / "manifest.jsonl").write_text("\n".join(lines))
    (root / "raw").mkdir()
    (root / "raw" / "one.jsonl").write_text(json.dumps({"source": "en_lj/0.wav"}))
    (root / "noise").mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal(mixes.RATE)
    soundfile.write(root / "noise" / "noise1.wav", noise, mixes.RATE)
    return root


def made(speech: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Truth]:
    monkeypatch.setattr(sys, "argv", ["mixes", "--speech", str(speech), "--out", str(out)])
    mixes.main()
    return read_truth(out)


def test_speech_is_where_the_truth_says_and_one_breaks_in_on_another(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    truths = made(speech, tmp_path / "mixes", monkeypatch)
    assert truths.keys() == mixes.SHOWS.keys()
    said = [turn.text for truth in truths.values() for turn in truth.turns]
    assert len(said) == len(set(said))
    assert "Number 0, of en_lj." not in said
    for name, truth in truths.items():
        show, rate = soundfile.read(tmp_path / "mixes" / f"{name}.flac")
        times = [(turn.start_s, turn.end_s) for turn in truth.turns]
        assert all(end - start == pytest.approx(SPOKEN_S, abs=0.03) for start, end in times)
        overlaps = [a[1] - b[0] for a, b in pairwise(times) if a[1] > b[0]]
        assert overlaps == [pytest.approx(mixes.BREAK_IN_S, abs=1e-3)]
        quiet = np.ones(len(show), bool)
        for start, end in (*times, *truth.noise):
            quiet[round(start * rate) : round(end * rate)] = False
        assert np.abs(show[quiet]).max() < 0.01 < np.abs(show[~quiet]).max()


def test_a_seed_makes_the_same_shows(speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one, other = tmp_path / "one", tmp_path / "other"
    assert made(speech, one, monkeypatch) == made(speech, other, monkeypatch)
    for file in one.iterdir():
        assert file.read_bytes() == (other / file.name).read_bytes()
