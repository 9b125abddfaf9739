"""Audio fingerprints: whether a clip is a copy of another, re-encoded, cut out of it, or played faster.

Landmarks after Wang 2003, "An industrial-strength audio search algorithm": peaks of the
spectrogram in pairs, each a number made of two frequencies and the time between them. Copies share
many pairs at one offset of time, other clips few at any. A pair does not survive another speed: what
is searched for is indexed at several.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.signal import stft

from gpa.curation import audio
from gpa.curation.audio import Waveform

_RATE = 8000
_WINDOW, _HOP = 512, 128
# Frequencies and frames around a peak in which nothing is louder.
_AROUND = (19, 7)
# Each peak is paired with so many that follow it within so many frames.
_PAIRS, _AHEAD = 8, 63
# How much faster or slower what is indexed may have been played. Half a per cent from one of them
# half of the copies are missed, at 0.4 % hardly any (docs/export.md).
SPEEDS = tuple(1 + step / 130 for step in range(-13, 14))
# Pairs at one offset that make a copy, and their least share of all pairs of the shorter clip.
_LEAST, _LEAST_SHARE = 10, 0.05
# A repeat has at least so much of what the other has, and not much more: neither is a part.
_AS_LONG = 0.7

# All of them are small, and an hour of a test set has millions.
Ints = NDArray[np.int32]


def landmarks(waveform: Waveform, sample_rate: int) -> tuple[Ints, Ints]:
    """Pairs of peaks as numbers, and the frame of 16 ms of the first of each, shape (pairs,)."""
    waveform = audio.resample(waveform, sample_rate, _RATE)
    if len(waveform) < _WINDOW:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    _, _, bands = stft(waveform, _RATE, nperseg=_WINDOW, noverlap=_WINDOW - _HOP, boundary=None)
    level = 20 * np.log10(np.maximum(np.abs(bands), 1e-10))
    peak = (level == maximum_filter(level, _AROUND)) & (level > level.max() - 50)
    frames, bins = (each.astype(np.int32) for each in np.nonzero(peak.T))  # in order of time
    numbers, times = [], []
    for ahead in range(1, _PAIRS + 1):
        between = frames[ahead:] - frames[:-ahead]
        near = (between > 0) & (between <= _AHEAD)
        first, second = bins[:-ahead][near], bins[ahead:][near]
        numbers.append((first * 257 + second) * (_AHEAD + 1) + between[near])
        times.append(frames[:-ahead][near])
    return np.concatenate(numbers), np.concatenate(times)


@dataclass(frozen=True)
class Fingerprints:
    """The landmarks of clips that are searched for, sorted by number."""

    names: Sequence[str]
    numbers: Ints
    times: Ints
    clips: Ints  # clip * len(speeds) + speed
    sizes: Ints  # landmarks by that
    speeds: Sequence[float]

    @classmethod
    def of(
        cls, clips: Iterable[tuple[str, Waveform, int]], speeds: Sequence[float] = SPEEDS
    ) -> Fingerprints:
        """Of clips by name, each of shape (samples,) at its rate, at all speeds."""
        names, found = [], []
        for name, waveform, rate in clips:
            names.append(name)
            found += [landmarks(waveform, round(rate * speed)) for speed in speeds]
        sizes = np.array([len(numbers) for numbers, _ in found], np.int32)
        none = np.zeros(0, np.int32)
        numbers = np.concatenate([none, *(numbers for numbers, _ in found)])
        times = np.concatenate([none, *(times for _, times in found)])
        order = np.argsort(numbers, kind="stable")
        owner = np.repeat(np.arange(len(found), dtype=np.int32), sizes)
        return cls(names, numbers[order], times[order], owner[order], sizes, speeds)

    def find(self, waveform: Waveform, sample_rate: int) -> str | None:
        """The name of the clip of which this is a copy, or a part, or which is a part of it."""
        numbers, times = landmarks(waveform, sample_rate)
        best, votes = self._most_alike(numbers, times, len(self.sizes))
        return self.names[best // len(self.speeds)] if votes else None

    def repeats(self) -> dict[str, str]:
        """Of clips at one speed: those that one before them already is, and which."""
        order = np.argsort(self.clips, kind="stable")
        of_clip = np.split(order, np.cumsum(self.sizes)[:-1])
        found: dict[str, str] = {}
        for clip, places in enumerate(of_clip):
            first, votes = self._most_alike(self.numbers[places], self.times[places], clip)
            shorter, longer = sorted((self.sizes[clip], self.sizes[first]))
            if votes and shorter >= _AS_LONG * longer:
                found[self.names[clip]] = self.names[first]
        return found

    def _most_alike(self, numbers: Ints, times: Ints, below: int) -> tuple[int, int]:
        """Of `clips` below a number the likest, and the pairs by which it is a copy; 0 if not."""
        first = np.searchsorted(self.numbers, numbers, "left")
        counts = np.searchsorted(self.numbers, numbers, "right") - first
        # The places of all equal numbers, one after the other.
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        places = np.arange(total) - np.repeat(ends - counts, counts) + np.repeat(first, counts)
        earlier = self.clips[places] < below
        places, here = places[earlier], np.repeat(times, counts)[earlier]
        # Two frames count as one offset, in either of the two ways to put them together.
        votes: dict[int, int] = {}
        for shift in (0, 1):
            offset = (self.times[places] - here + shift) >> 1
            key = self.clips[places].astype(np.int64) * (1 << 24) + offset + (1 << 23)
            for each, count in zip(*np.unique(key, return_counts=True), strict=True):
                clip = int(each >> 24)
                votes[clip] = max(votes.get(clip, 0), int(count))
        best = max(votes, key=lambda clip: votes[clip], default=0)
        shorter = min(len(numbers), int(self.sizes[best])) if votes else 0
        least = max(_LEAST, _LEAST_SHARE * shorter)
        return best, votes[best] if votes and votes[best] >= least else 0
