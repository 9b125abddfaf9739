"""What every recogniser does around its network: prepare clips, batch them, contain a failure,
keep word times in order.

An adapter's network gets clips of 16 kHz in one language. Around it stand the promises that
`tests/curation/models/asr/test_conformance.py` holds all adapters to.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from gpa.curation.audio import resample
from gpa.curation.models.device import DeviceConfig
from gpa.curation.models.protocols import Hypothesis, Model, Section, Waveform, Word
from gpa.curation.text.languages import LanguageCode
from gpa.runtime.models import ModelConfig

SAMPLE_RATE = 16000

# Quieter than one step of 16-bit audio: digital silence, on which recognisers invent words.
SILENCE_PEAK = 1 / 32768


class ASRConfig(ModelConfig):
    """A recogniser's section.

    `languages` limits it to these, named by any code that BCP 47 has; null stands for all that its
    model speaks.
    """

    languages: tuple[LanguageCode, ...] | None = None


class BatchedASRConfig(ASRConfig, DeviceConfig):
    """One that hears several utterances at once: more than 1 pays on a GPU alone."""

    batch_size: int = Field(default=1, gt=0)


Hear = Callable[[list[Waveform], str | None], list[Hypothesis]]


class Recogniser(Model[Section], ABC):
    """An adapter of the ASR protocol: its network is in `_hear`, `transcribe` is around it.

    `model` is the library's own, once it is loaded; longer clips than `longest_s` are refused.
    """

    model: Any = None
    longest_s: float | None = None  # None: any length

    def transcribe(
        self, waveforms: Sequence[Waveform], sample_rate: int, languages: Sequence[str | None]
    ) -> list[Hypothesis | Exception]:
        at_once = self.config.batch_size if isinstance(self.config, BatchedASRConfig) else 1
        return hear_in_batches(
            self._hear, waveforms, sample_rate, languages, at_once, self.longest_s
        )

    @abstractmethod
    def _hear(self, clips: list[Waveform], language: str | None) -> list[Hypothesis]:
        """Hypotheses of clips of 16 kHz that have sound and one language, in order."""


def hear_in_batches(
    hear: Hear,
    waveforms: Sequence[Waveform],
    sample_rate: int,
    languages: Sequence[str | None],
    batch_size: int = 1,
    longest_s: float | None = None,
) -> list[Hypothesis | Exception]:
    """One hypothesis or exception a waveform, in order.

    A batch holds up to `batch_size` clips of one language, in the order in which they come. When
    a batch fails, its clips are heard again one by one, so that only the one at fault has no
    hypothesis. A clip of more than `longest_s` seconds is refused: cutting it would halve words.
    """
    results: dict[int, Hypothesis | Exception] = {}
    clips: dict[int, Waveform] = {}
    by_language: dict[str | None, list[int]] = {}
    for index, (waveform, language) in enumerate(zip(waveforms, languages, strict=True)):
        try:
            clip = _prepared(waveform, sample_rate, longest_s)
        except Exception as error:
            results[index] = error
            continue
        if clip is None:
            results[index] = Hypothesis("", language=language)
        else:
            clips[index] = clip
            by_language.setdefault(language, []).append(index)
    for language, indices in by_language.items():
        for start in range(0, len(indices), batch_size):
            batch = indices[start : start + batch_size]
            heard = _heard(hear, [clips[index] for index in batch], language)
            results |= zip(batch, heard, strict=True)
    return [results[index] for index in range(len(waveforms))]


def rising_words(
    words: Iterable[tuple[str, float, float, float | None]], duration_s: float
) -> tuple[Word, ...]:
    """Words (text, start_s, end_s, confidence) brought inside the clip, never running backwards.

    Whisper's attention may place a word past the end of the audio, in its padding.
    """
    rising: list[Word] = []
    earliest_s = 0.0
    # Rounding to milliseconds must not lead out of the clip.
    duration_s = math.floor(duration_s * 1000) / 1000
    for text, start_s, end_s, confidence in words:
        start_s = min(max(start_s, earliest_s), duration_s)
        end_s = min(max(end_s, start_s), duration_s)
        earliest_s = start_s
        trust = None if confidence is None else float(confidence)
        rising.append(Word(text.strip(), round(float(start_s), 3), round(float(end_s), 3), trust))
    return tuple(rising)


def _prepared(waveform: Waveform, sample_rate: int, longest_s: float | None) -> Waveform | None:
    """The clip at 16 kHz, None where it is silent; raises where it is too long."""
    seconds = len(waveform) / sample_rate
    if longest_s is not None and seconds > longest_s:
        raise ValueError(
            f"{seconds:.1f} s are more than the {longest_s:g} s that this model hears at once; "
            "lower segment.max_s"
        )
    clip = resample(waveform, sample_rate, SAMPLE_RATE)
    return clip if np.abs(clip).max(initial=0.0) >= SILENCE_PEAK else None


def _heard(
    hear: Hear, clips: list[Waveform], language: str | None
) -> Sequence[Hypothesis | Exception]:
    """The hypotheses of a batch, each clip alone where the batch fails."""
    try:
        return hear(clips, language)
    except Exception as error:
        if len(clips) == 1:
            return [error]
        return [each for clip in clips for each in _heard(hear, [clip], language)]
