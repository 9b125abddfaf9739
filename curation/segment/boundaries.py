"""Where an utterance begins and ends: quiet places, pauses, and words cut in half.

**Levels.** In frames of 10 ms: the *noise floor* of an utterance is the 10th percentile of its
frames' levels, its *speech level* the 85th.

**Truncated.** A boundary inside a recording has cut a word if any 10 ms within 30 ms on either
side of it lie more than 58 % of the way (in dB) from the noise floor to the speech level, and no
more than 32 dB under the speech level. Both sides, since the closure of a stop inside a word is as
quiet as a pause, but shorter. Where the recording itself begins or ends, there is one side alone,
and the natural onset of a word reaches full level within 30 ms: there the 10 ms next to the end
must lie above 35 %.

Paper (GPA, section 3.1): utterances are dropped whose boundary energy says that a word was cut
in half; the thresholds are ours, measured in docs/segmentation.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpa.curation.audio import Waveform
from gpa.curation.spans import Span, runs

FRAME_MS = 10
_FLOOR_PERCENTILE = 10
_SPEECH_PERCENTILE = 85
_SILENCE_DB = -100.0
# Frames on either side of a boundary that tell whether it lies in a word.
_AROUND = 3
# What a boundary gains in quiet must be worth its distance from where it was to be.
_DB_PER_SECOND_AWAY = 30.0

Levels = NDArray[np.float64]


@dataclass(frozen=True)
class Loudness:
    """Levels of an utterance in dB of full scale."""

    floor_db: float
    speech_db: float

    @property
    def snr_db(self) -> float:
        """How far the speech stands above the noise floor."""
        return self.speech_db - self.floor_db

    def quiet_below_db(self, position: float) -> float:
        """The level that lies `position` of the way from the floor to the speech."""
        return self.floor_db + position * self.snr_db


@dataclass(frozen=True)
class Edge:
    """What is heard at a boundary of an utterance."""

    # Of the frames that tell whether a word is cut, relative to the speech level.
    loudest_db: float
    # Whether the recording goes on beyond it.
    inside: bool


def frame_samples(sample_rate: int) -> int:
    """Samples in a frame of 10 ms."""
    return sample_rate * FRAME_MS // 1000


def levels_db(waveform: Waveform, sample_rate: int) -> Levels:
    """Level of each whole 10 ms frame in dB of full scale, shape (samples // frame,)."""
    size = frame_samples(sample_rate)
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    power = np.einsum("fs,fs->f", frames, frames, dtype=np.float64) / size
    return 10 * np.log10(np.maximum(power, 10 ** (_SILENCE_DB / 10)))


def loudness(levels: Levels) -> Loudness:
    """Noise floor and speech level of an utterance of at least one frame."""
    floor, speech = np.percentile(levels, [_FLOOR_PERCENTILE, _SPEECH_PERCENTILE])
    return Loudness(float(floor), float(speech))


def edges(
    waveform: Waveform, sample_rate: int, start: int = 0, end: int | None = None
) -> tuple[Edge, Edge]:
    """How loud it is at both boundaries of an utterance, waveform[start:end]."""
    end = len(waveform) if end is None else end
    size = frame_samples(sample_rate)
    speech_db = loudness(levels_db(waveform[start:end], sample_rate)).speech_db

    def edge(around: Waveform, inside: bool) -> Edge:
        return Edge(float(levels_db(around, sample_rate).max()) - speech_db, inside)

    head, tail = (min(_AROUND, room // size) * size for room in (start, len(waveform) - end))
    return (
        edge(waveform[start - head : start + (head or size)], head > 0),
        edge(waveform[end - (tail or size) : end + tail], tail > 0),
    )


def is_truncated(
    waveform: Waveform,
    sample_rate: int,
    start: int = 0,
    end: int | None = None,
    cut_position: float = 0.58,
    quiet_position: float = 0.35,
    drop_db: float = -32.0,
) -> tuple[bool, bool]:
    """Whether the first and last word of an utterance, waveform[start:end], are cut in half.

    `cut_position` and `quiet_position` are shares of the way from floor to speech above which
    there is speech, around a boundary and at an end of the recording; `drop_db` (negative) is the
    level relative to the speech below which there never is.
    """
    snr_db = loudness(levels_db(waveform[start:end], sample_rate)).snr_db
    head, tail = (
        edge.loudest_db
        > max(-snr_db * (1 - (cut_position if edge.inside else quiet_position)), drop_db)
        for edge in edges(waveform, sample_rate, start, end)
    )
    return head, tail


def pauses(levels: Levels, quiet_below_db: float, shortest_ms: float) -> list[Span]:
    """Runs of frames under a level, of at least `shortest_ms`, as spans of frames."""
    quiet = runs(levels < quiet_below_db)
    return [(start, end) for start, end in quiet if (end - start) * FRAME_MS >= shortest_ms]


def quietest(levels: Levels, target: int, first: int, last: int) -> int:
    """The boundary between frames, in [first, last], that lies in the quietest place.

    Quiet counts on both sides of the boundary (60 ms in all); distance from `target` costs
    30 dB a second, so that in even silence the target wins. Boundary b lies before frame b.
    """
    boundaries = np.arange(first, last + 1)
    around = boundaries[:, np.newaxis] + np.arange(-_AROUND, _AROUND)
    loudest = levels[np.clip(around, 0, len(levels) - 1)].max(axis=1)
    away_s = np.abs(boundaries - target) * FRAME_MS / 1000
    return int(boundaries[np.argmin(loudest + _DB_PER_SECOND_AWAY * away_s)])
