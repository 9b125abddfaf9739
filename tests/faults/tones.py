"""Light models: rules that hear tones. A word is a tone, its pitch says which.

On their own, since every worker of a run imports them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpa.curation.models.protocols import (
    MOS,
    Diarization,
    Hypothesis,
    Turn,
    Waveform,
    Word,
    WordAlignment,
)
from gpa.runtime.models import Facts, ModelConfig, Source

RATE = 16000
WORD_S, PAUSE_S = 0.4, 1.0
# What the lowest tone says is markup, which a page must not take for its own.
MARKUP = "<b>one"
WORDS = (MARKUP, "two", "three", "four", "five", "six", "seven", "eight")
LOWEST_HZ, STEP_HZ = 300.0, 100.0
VOICE = np.array([[1.0, 0.0]], np.float32)


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
