"""What an adapter to somebody else's model promises, one small protocol a kind.

An adapter is made from its section of `pipelines.yaml`, says what it needs in `facts()` before
anything is loaded, loads weights in `load()`, works in batches, and returns the dataclasses
below. Waveforms are float32 arrays in [-1, 1], mono, shape (samples,), of any rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpa.runtime.models import Adapter, ModelConfig, Source

Waveform = NDArray[np.float32]
Section = TypeVar("Section", bound=ModelConfig)


class Model(Generic[Section]):
    """What adapters share: one with weights outside wheels says so in `sources`."""

    def __init__(self, config: Section):
        self.config = config

    def sources(self) -> tuple[Source, ...]:
        return ()

    @property
    def source(self) -> Source:
        """The first of them, mostly the only one."""
        return self.sources()[0]


@dataclass(frozen=True)
class Word:
    """A word with its times in seconds from the start of the clip; confidence in [0, 1]."""

    word: str
    start_s: float
    end_s: float
    confidence: float | None = None


@dataclass(frozen=True)
class Hypothesis:
    """What one ASR heard in one utterance; empty text is its word for silence."""

    text: str
    words: tuple[Word, ...] = ()
    confidence: float | None = None
    language: str | None = None
    language_probability: float | None = None


class ASR(Adapter, Protocol):
    """A speech recogniser."""

    def transcribe(
        self, waveforms: Sequence[Waveform], sample_rate: int, languages: Sequence[str | None]
    ) -> list[Hypothesis | Exception]:
        """One hypothesis a waveform, in order.

        `languages` holds ISO 639-1 codes, None where unknown (then the model identifies it if
        it can). An utterance on which the model fails yields its exception, alone.
        """
        ...


@dataclass(frozen=True)
class Turn:
    """A stretch in which one speaker talks, seconds; speakers are numbered from 0."""

    start_s: float
    end_s: float
    speaker: int


@dataclass(frozen=True)
class Diarization:
    """Who speaks when in one recording.

    `turns` may overlap each other; `overlaps` are the stretches where two or more talk;
    `embeddings` has one L2-normalised row a speaker, shape (speakers, dimensions), all zeros for
    a speaker who never talks alone.
    """

    turns: tuple[Turn, ...]
    overlaps: tuple[tuple[float, float], ...]
    embeddings: NDArray[np.float32]


class Diarizer(Adapter, Protocol):
    """VAD and diarization together."""

    def diarize(self, waveform: Waveform, sample_rate: int) -> Diarization:
        """Speaker turns of a recording of any length, long ones in windows."""
        ...

    def embed(self, waveforms: Sequence[Waveform], sample_rate: int) -> NDArray[np.float32]:
        """One L2-normalised speaker embedding a clip, shape (clips, dimensions)."""
        ...


class Denoiser(Adapter, Protocol):
    """A noise suppressor."""

    def denoise(self, waveform: Waveform, sample_rate: int) -> Waveform:
        """Same rate, length and alignment as the input."""
        ...


@dataclass(frozen=True)
class MOS:
    """Predicted mean opinion scores, 1 (bad) to 5 (excellent).

    A model of opinions may pass the ends by a few hundredths, as published ones do.
    A scorer of the whole alone has none of the speech signal and the background.
    """

    overall: float
    signal: float | None = None
    background: float | None = None


class QualityScorer(Adapter, Protocol):
    """A score of how speech sounds."""

    def score(self, waveforms: Sequence[Waveform], sample_rate: int) -> list[MOS]:
        """One score a clip of any length."""
        ...


@dataclass(frozen=True)
class WordAlignment:
    """Where the words of a text lie in the audio.

    `words` has one entry for each word handed in, in order, or is empty with `error` saying why
    the text could not be aligned. `score` says how well text and audio fit, higher is better,
    in the aligner's own units (None where it has none).
    """

    words: tuple[Word, ...] = ()
    error: str | None = None
    score: float | None = None


class Aligner(Adapter, Protocol):
    """A forced aligner."""

    def align(
        self,
        waveforms: Sequence[Waveform],
        sample_rate: int,
        words: Sequence[Sequence[str]],
        languages: Sequence[str],
    ) -> list[WordAlignment]:
        """Times of each utterance's words, in order; `words` are written words without marks."""
        ...
