"""Where an utterance begins and ends: quiet places, pauses, and words cut in half.

**Levels.** In frames of 10 ms: the *noise floor* of an utterance is the 10th percentile of its
frames' levels, its *speech level* the 85th.

**Truncated.** A boundary has cut a word if the 10 ms next to it lie more than 35 % of the way (in
dB) from the noise floor to the speech level, and no more than 32 dB under the speech level. Ten
milliseconds and not more, since the natural onset of a word reaches full level within 30 ms.

Paper (GPA, section 3.1): utterances are dropped whose boundary energy says that a word was cut
in half; the thresholds are ours, measured in docs/segmentation.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpa.curation.audio import Waveform
from gpa.curation.turns import Span

FRAME_MS = 10
_FLOOR_PERCENTILE = 10
_SPEECH_PERCENTILE = 85
_SILENCE_DB = -100.0
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
class Edges:
    """Levels of the first and last 10 ms, in dB relative to the speech level."""

    head_db: float
    tail_db: float


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


def edges(levels: Levels) -> Edges:
    """How loud an utterance is at its very ends; the last whole frame stands for the tail."""
    speech_db = loudness(levels).speech_db
    return Edges(float(levels[0] - speech_db), float(levels[-1] - speech_db))


def truncated(edge_db: float, snr_db: float, position: float, drop_db: float) -> bool:
    """Whether a boundary has cut a word in half.

    `edge_db` is the level at the boundary relative to the speech level, `position` the share of
    the way from floor to speech above which it is speech, `drop_db` (negative) the level relative
    to the speech below which it never is.
    """
    return edge_db > max(-snr_db * (1 - position), drop_db)


def is_truncated(
    waveform: Waveform, sample_rate: int, position: float = 0.35, drop_db: float = -32.0
) -> tuple[bool, bool]:
    """Whether an utterance's first and last word are cut in half."""
    levels = levels_db(waveform, sample_rate)
    # The tail is measured flush with the end, whatever is left over of the last frame.
    last = levels_db(waveform[-frame_samples(sample_rate) :], sample_rate)
    levels = np.append(levels[:-1], last)
    snr_db, found = loudness(levels).snr_db, edges(levels)
    return (
        truncated(found.head_db, snr_db, position, drop_db),
        truncated(found.tail_db, snr_db, position, drop_db),
    )


def pauses(levels: Levels, quiet_below_db: float, shortest_ms: float) -> list[Span]:
    """Runs of frames under a level, of at least `shortest_ms`, as spans of frames."""
    quiet = np.concatenate([[False], levels < quiet_below_db, [False]])
    starts, ends = np.flatnonzero(np.diff(quiet.astype(np.int8))).reshape(-1, 2).T
    long_enough = (ends - starts) * FRAME_MS >= shortest_ms
    return list(zip(starts[long_enough].tolist(), ends[long_enough].tolist(), strict=True))


def quietest(levels: Levels, target: int, first: int, last: int) -> int:
    """The boundary between frames, in [first, last], that lies in the quietest place.

    Quiet counts on both sides of the boundary (30 ms in all); distance from `target` costs
    30 dB a second, so that in even silence the target wins. Boundary b lies before frame b.
    """
    boundaries = np.arange(first, last + 1)
    around = boundaries[:, np.newaxis] + np.arange(-1, 2)
    loudest = levels[np.clip(around, 0, len(levels) - 1)].max(axis=1)
    away_s = np.abs(boundaries - target) * FRAME_MS / 1000
    return int(boundaries[np.argmin(loudest + _DB_PER_SECOND_AWAY * away_s)])
