"""Figures with their intervals.

Every figure is a ratio of two sums over units that were drawn alike (utterances, turns,
recordings): WER is edits over reference words, F1 is 2 TP over 2 TP + FP + FN, a mean is a sum
over a count. So one bootstrap puts intervals on all of them; shares of yes and no have their exact
interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; NaN where there was nothing to measure.

    `count` is the number of units it rests on. With one unit there is no interval.
    """

    value: float
    low: float
    high: float
    count: int

    def as_json(self) -> dict[str, float | None]:
        """For machines: null where there is no number."""
        return {name: None if math.isnan(value) else value for name, value in vars(self).items()}


def ratio(numerators: Iterable[float], denominators: Iterable[float]) -> Estimate:
    """Sum of numerators over sum of denominators, one pair a unit, with a percentile bootstrap.

    Units are resampled with replacement, numerator and denominator together (Bisani & Ney 2004
    for WER). Resamples whose denominators sum to zero say nothing and are left out.
    """
    return _bootstrap(np.array([[*numerators], [*denominators]], float))


def relative(
    one: tuple[Sequence[float], Sequence[float]],
    other: tuple[Sequence[float], Sequence[float]],
) -> Estimate:
    """One ratio over another, each as (numerators, denominators) of the same units."""
    (above, below), (other_above, other_below) = one, other
    return _bootstrap(np.array([above, below, other_below, other_above], float))


def _bootstrap(columns: NDArray[np.float64]) -> Estimate:
    """Product of the even rows' sums over that of the odd rows', shape (2 or 4, units)."""
    count = columns.shape[1]

    def figure(drawn: NDArray[np.float64]) -> float:
        sums = drawn.sum(axis=1)
        below = sums[1::2].prod()
        return float(sums[0::2].prod() / below) if below else math.nan

    value = figure(columns)
    if count < 2 or math.isnan(value):
        return Estimate(value, math.nan, math.nan, count)
    generator = np.random.default_rng(0)
    resampled = [
        figure(columns[:, generator.integers(count, size=count)]) for _ in range(RESAMPLES)
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), count)


def share(events: Iterable[bool]) -> Estimate:
    """Share of units in which something happened, with the exact (Clopper-Pearson) interval.

    Not a bootstrap: that would call an event that was not seen once impossible.
    """
    seen = list(events)
    if not seen:
        return Estimate(math.nan, math.nan, math.nan, 0)
    test = stats.binomtest(sum(seen), len(seen))
    interval = test.proportion_ci(CONFIDENCE, "exact")
    return Estimate(test.statistic, float(interval.low), float(interval.high), len(seen))


def mean(values: Iterable[float]) -> Estimate:
    """Arithmetic mean, with the interval of `ratio`."""
    listed = list(values)
    return ratio(listed, [1.0] * len(listed))
