"""Mixes with ground truth, on clips made of tone bursts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from gpa.eval.labels.truth import read_truth
from gpa.eval.studies import mixes
from gpa.eval.studies.mixes import Clip

RATE = 16000


def clip(speaker: str, number: int) -> Clip:
    return {
        "path": f"talk/{speaker}{number}.wav",
        "speaker": speaker,
        "language": "en",
        "text": f"{speaker} says {number}",
        "text_punct": None,
    }


CLIPS = [clip(speaker, number) for speaker in "abcde" for number in range(4)]


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Clips of 6 s of a tone with a silence of half a second around it, and two of noise."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "speech"
    for name in ("talk", "noise"):
        (folder / name).mkdir(parents=True)
    silence = generator.normal(0, 1e-4, RATE // 2)
    for each in CLIPS:
        tone = (
            0.5 * np.sin(np.arange(5 * RATE) * 0.1) * (1 + 0.5 * np.sin(np.arange(5 * RATE) / 900))
        )
        soundfile.write(folder / each["path"], np.concatenate([silence, tone, silence]), RATE)
    for name in ("one", "two"):
        soundfile.write(folder / "noise" / f"{name}.wav", generator.normal(0, 0.1, RATE), RATE)
    return folder


def arrange(speech: Path, seed: int = 0) -> mixes.Mix:
    noises = ["noise/one.wav", "noise/two.wav"]
    return mixes.arrange(speech, CLIPS[:8], noises, np.random.default_rng(seed))


def test_no_clip_is_used_twice_and_every_mix_has_several_speakers():
    shared = mixes.share_out(CLIPS, 2, np.random.default_rng(0))
    used = [each["path"] for chosen in shared for each in chosen]
    assert len(used) == len(set(used))
    assert all(len({each["speaker"] for each in chosen}) > 1 for chosen in shared[:1])


def test_what_another_truth_was_made_from_is_left_out(tmp_path: Path):
    (tmp_path / "dev.jsonl").write_text('{"source": "talk/a0.wav"}\n')
    rows = [
        {"path": f"talk/{name}.wav", "language": "en", "text": "hello", "duration_s": 3.0}
        for name in ("a0", "a1")
    ]
    rows.append({"path": "talk/wrong.wav", "language": "en", "text": "x", "duration_s": 3.0,
                 "text_ok": False})  # fmt: skip
    left = mixes.usable(rows, ["talk"], mixes.sources(tmp_path))
    assert [each["path"] for each in left] == ["talk/a1.wav"]


def test_turns_lie_where_the_speech_is_and_one_reader_breaks_in_on_another(speech: Path):
    mix = arrange(speech)
    starts = [turn["start"] for turn in mix.turns]
    ends = [turn["end"] for turn in mix.turns]
    # The silence around the clips' speech is cut away.
    assert [end - start for start, end in zip(starts, ends, strict=True)] == pytest.approx(
        [5.0] * 8, abs=0.05
    )
    pauses = [after - before for before, after in zip(ends, starts[1:], strict=False)]
    assert sum(pause < 0 for pause in pauses) == 1
    assert starts[0] > mixes.LEAD_IN_S
    assert np.abs(mix.waveform).max() == pytest.approx(mixes.PEAK)


def test_a_seed_gives_the_same_mix(speech: Path):
    one, same, other = arrange(speech), arrange(speech), arrange(speech, seed=1)
    np.testing.assert_array_equal(one.waveform, same.waveform)
    assert one.turns == same.turns
    assert one.turns != other.turns


def test_what_is_written_is_ground_truth(speech: Path, tmp_path: Path):
    mix = arrange(speech)
    mixes.write(tmp_path, "mix_1", mix)
    truth = read_truth(tmp_path)["mix_1"]
    assert sorted(turn.text for turn in truth.turns) == sorted(turn["text"] for turn in mix.turns)
    assert len(truth.noise) == 1
    assert soundfile.info(tmp_path / "mix_1.flac").duration > truth.turns[-1].end_s
