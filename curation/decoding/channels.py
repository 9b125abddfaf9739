"""Is a channel a microphone of one scene, a speaker of a call, or no sound at all?

A telephone call with a speaker a channel, mixed down, is cross-talk; a scene in stereo, taken
apart, is everything twice. The difference is measured: the channels of a scene rise and fall
together, however far apart its microphones stand; those of a call do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FRAME_S = 0.02
# More channels are an array of microphones.
MAX_MEASURED = 8
# Against the loudest channel (by the level that 5 % of the frames exceed), below this: dead.
DEAD_DB = -50.0
# Speech has pauses: its level in frames of 20 ms covers at least this range (95th less 10th
# percentile). Time code, hum and hiss stay within a range that speech never does.
SPEECH_RANGE_DB = 12.0
STEADY_RANGE_DB = 4.0
# Of samples (by magnitude) and of frame levels in dB; a call lies below both. Measured: calls, even
# where both talk all the time, reach 0.20 (cross-talk at -20 dB) and 0.33; microphones a metre or
# a room apart reach 0.89 of level, voices panned 70 to 30 0.55 of samples.
CALL_SAMPLE_CORRELATION = 0.3
CALL_LEVEL_CORRELATION = 0.6
_FLOOR_DB = -90.0


@dataclass(frozen=True)
class Channels:
    """What a file's channels are."""

    live: tuple[int, ...]  # neither dead nor steady; all of them where all are
    is_call: bool  # they are speakers apart: at least two, each with speech


class ChannelMeter:
    """Fed with blocks (channels, samples), says at the end what the channels are."""

    def __init__(self, channels: int, sample_rate: int):
        self._channels = channels
        self._frame = max(1, round(sample_rate * FRAME_S))
        self._rest = np.zeros((channels, 0), np.float32)
        self._powers: list[NDArray[np.float32]] = []
        self._sums = np.zeros(channels)
        self._products = np.zeros((channels, channels))
        self._count = 0

    def add(self, block: NDArray[np.float32]) -> None:
        """Samples that follow those before."""
        if not 2 <= self._channels <= MAX_MEASURED:
            return
        block = np.concatenate([self._rest, np.nan_to_num(block, posinf=0, neginf=0)], axis=1)
        whole = block.shape[1] - block.shape[1] % self._frame
        block, self._rest = block[:, :whole], block[:, whole:]
        frames = block.reshape(self._channels, -1, self._frame)
        self._powers.append(frames.var(axis=2))
        self._sums += block.sum(axis=1, dtype=np.float64)
        self._products += block @ block.T
        self._count += whole

    def verdict(self) -> Channels:
        """What they are; where nothing could be measured, one scene."""
        everything = tuple(range(self._channels))
        if self._count < 2 * self._frame:
            return Channels(everything, is_call=False)
        levels = 10 * np.log10(np.concatenate(self._powers, axis=1) + 10 ** (_FLOOR_DB / 10))
        high, low = np.percentile(levels, [95, 10], axis=1)
        sounding = (high > high.max() + DEAD_DB) & (high > _FLOOR_DB + 10)
        live = np.flatnonzero(sounding & (high - low > STEADY_RANGE_DB))
        spoken = np.flatnonzero(sounding & (high - low > SPEECH_RANGE_DB))
        if not len(spoken):  # nothing tells which one is meant
            return Channels(everything, is_call=False)
        is_call = len(spoken) > 1 and (
            _greatest(self._sample_correlation()[np.ix_(spoken, spoken)]) < CALL_SAMPLE_CORRELATION
            and _greatest(np.corrcoef(levels[spoken])) < CALL_LEVEL_CORRELATION
        )
        return Channels(tuple(map(int, spoken if is_call else live)), bool(is_call))

    def _sample_correlation(self) -> NDArray[np.float64]:
        means = self._sums / self._count
        covariance = self._products / self._count - np.outer(means, means)
        scale = np.sqrt(np.maximum(np.diag(covariance), 1e-20))
        return np.abs(covariance / np.outer(scale, scale))


def _greatest(correlation: NDArray[np.float64]) -> float:
    """The greatest correlation between any two channels."""
    return float(correlation[np.triu_indices(len(correlation), 1)].max())
