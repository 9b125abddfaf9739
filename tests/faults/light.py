"""The real `gpa` command with light models, so that a whole run takes seconds.

Driver, stages, storage, Ray and books are those of every run; only the networks are exchanged,
for rules that hear tones: a word is a tone, its pitch says which. Run as
`python -m tests.faults.light MINES curate ...`; MINES is the folder of `mines.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile

from gpa.curation.models.protocols import (
    MOS,
    Diarization,
    Hypothesis,
    Turn,
    Waveform,
    Word,
    WordAlignment,
)
from gpa.curation.pipeline import PipelineConfig, build_stages
from gpa.curation.punctuate.stage import PunctuateStage
from gpa.curation.quality import QualityStage
from gpa.curation.segment.stage import SegmentStage
from gpa.curation.transcribe.stage import Transcribe
from gpa.runtime.models import Facts, ModelConfig, Source
from gpa.runtime.stage import Stage
from tests.faults.mines import Mined

RATE = 16000
WORD_S, PAUSE_S = 0.4, 1.0
# What the lowest tone says is markup, which a page must not take for its own.
MARKUP = "<b>one"
WORDS = (MARKUP, "two", "three", "four", "five", "six", "seven", "eight")
LOWEST_HZ, STEP_HZ = 300.0, 100.0
VOICE = np.array([[1.0, 0.0]], np.float32)


def settings(laptop: dict[str, Any]) -> None:
    """`laptop` with two recognisers, no verifier and no denoiser: those that have light models."""
    laptop["denoise"] = {"model": "none"}
    for name in ("ctc-en", "whisper-base-fast"):
        laptop["transcribe"]["asr"].pop(name)
    voters = list(laptop["transcribe"]["asr"])
    laptop["consensus"]["panels"] = {"en": {"voters": voters}, "default": {"voters": voters[:1]}}
    laptop["resources"] |= {"cpus": 2, "default": {"workers": 2}}


def command(mines: Path) -> tuple[str | Path, ...]:
    """The `gpa` command with light models, to be followed by its arguments."""
    return (sys.executable, "-m", "tests.faults.light", mines)


def write_corpus(folder: Path, recordings: int, seed: int) -> None:
    """Recordings of three sentences each; a sentence is five tones with a swell each."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(WORD_S * RATE)) / RATE
    swell = np.sin(np.pi * time_s / WORD_S)
    pause = np.zeros(round(PAUSE_S * RATE))
    for number in range(recordings):
        pieces = [pause]
        for _ in range(3):
            for word in rng.integers(len(WORDS), size=5):
                pitch_hz = LOWEST_HZ + STEP_HZ * word
                pieces.append(0.3 * swell * np.sin(2 * np.pi * pitch_hz * time_s))
            pieces.append(pause)
        waveform = np.concatenate(pieces)
        waveform += 0.001 * rng.standard_normal(len(waveform))
        soundfile.write(folder / f"talk {number}.wav", waveform, RATE)


def _loud(waveform: Waveform, sample_rate: int) -> list[tuple[float, float]]:
    """Stretches in seconds that are no pause."""
    block = sample_rate // 50
    blocks = waveform[: len(waveform) // block * block].reshape(-1, block)
    loud = np.sqrt(np.mean(blocks**2, axis=1)) > 0.01
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]])))
    return [(a / 50, b / 50) for a, b in edges.reshape(-1, 2)]


class Light:
    """What all the light models declare; they have no weights to load."""

    config = ModelConfig()

    def sources(self) -> tuple[Source, ...]:
        return ()

    def facts(self) -> Facts:
        return Facts(type(self).__name__, "tests", "Apache-2.0", ())

    def load(self) -> None:
        pass


class ToneDiarizer(Light):
    """One voice, wherever it is loud."""

    def diarize(self, waveform: Waveform, sample_rate: int) -> Diarization:
        turns = tuple(Turn(start, end, 0) for start, end in _loud(waveform, sample_rate))
        return Diarization(turns, (), VOICE)

    def embed(self, waveforms: Sequence[Waveform], sample_rate: int) -> np.ndarray:
        return np.repeat(VOICE, len(waveforms), axis=0)


class ToneASR(Light):
    """Hears which tones follow each other; a deaf one takes the highest for the next lower."""

    def __init__(self, deaf: bool):
        self._deaf = deaf

    def transcribe(
        self, waveforms: Sequence[Waveform], sample_rate: int, languages: Sequence[str | None]
    ) -> list[Hypothesis | Exception]:
        return [self._hear(waveform, sample_rate) for waveform in waveforms]

    def _hear(self, waveform: Waveform, sample_rate: int) -> Hypothesis:
        words = []
        for start_s, end_s in _loud(waveform, sample_rate):
            for number in range(round((end_s - start_s) / WORD_S)):
                first = round((start_s + number * WORD_S) * sample_rate)
                tone = waveform[first : first + round(WORD_S * sample_rate)]
                pitch_hz = np.argmax(np.abs(np.fft.rfft(tone))) * sample_rate / len(tone)
                word = min(max(round((pitch_hz - LOWEST_HZ) / STEP_HZ), 0), len(WORDS) - 1)
                word -= self._deaf and word == len(WORDS) - 1
                words.append(Word(WORDS[word], first / sample_rate, first / sample_rate + WORD_S))
        return Hypothesis(" ".join(word.word for word in words), tuple(words), 0.9, "en", 1.0)


class Loudness(Light):
    def score(self, waveforms: Sequence[Waveform], sample_rate: int) -> list[MOS]:
        return [MOS(*[1 + 4 * float(np.abs(w).max())] * 3) for w in waveforms]


class EvenAligner(Light):
    """Words of one length."""

    def align(
        self,
        waveforms: Sequence[Waveform],
        sample_rate: int,
        words: Sequence[Sequence[str]],
        languages: Sequence[str],
    ) -> list[WordAlignment]:
        return [
            WordAlignment(tuple(Word(w, i * WORD_S, (i + 1) * WORD_S) for i, w in enumerate(said)))
            for said in words
        ]


def light_stages(config: PipelineConfig, mines: Path) -> list[Stage]:
    """The recipe's stages with light models, each with mines laid in it."""
    stages = build_stages(config)
    for stage in stages:
        match stage:
            case SegmentStage():
                stage._diarizer = ToneDiarizer()
            case QualityStage():
                stage._scorer = Loudness()
            case Transcribe():
                stage.asr = ToneASR(deaf=stage.asr_name != config.transcribe.identifier)
            case PunctuateStage():
                stage._aligner = EvenAligner()
    return [Mined(stage, mines) for stage in stages]


if __name__ == "__main__":
    # Only here: a worker needs the stages alone.
    from gpa.curation import run
    from gpa.runtime import cli

    mines, *sys.argv[1:] = sys.argv[1:]
    with mock.patch.object(run, "build_stages", lambda config: light_stages(config, Path(mines))):
        cli.main()
