"""Figures with their intervals: ratios of sums, corpus WER, and the part of a text that was heard.

Every figure of an evaluation is a ratio of two sums over units that were drawn alike (utterances,
turns, recordings): WER is edits over reference words, F1 is 2 TP over 2 TP + FP + FN, a mean is a
sum over a count. So one bootstrap puts intervals on all of them; shares of yes and no have their
exact interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein, ScoreAlignment
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


def ratio(numerators: Iterable[float], denominators: Iterable[float], seed: int = 0) -> Estimate:
    """Sum of numerators over sum of denominators, one pair a unit, with a percentile bootstrap.

    Units are resampled with replacement, numerator and denominator together (Bisani & Ney 2004
    for WER). Resamples whose denominators sum to zero say nothing and are left out.
    """
    return _bootstrap(np.array([[*numerators], [*denominators]], float), seed)


def relative(
    one: tuple[Sequence[float], Sequence[float]],
    other: tuple[Sequence[float], Sequence[float]],
    seed: int = 0,
) -> Estimate:
    """One ratio over another, each as (numerators, denominators) of the same units."""
    (above, below), (other_above, other_below) = one, other
    return _bootstrap(np.array([above, below, other_below, other_above], float), seed)


def _bootstrap(columns: NDArray[np.float64], seed: int) -> Estimate:
    """Product of the even rows' sums over that of the odd rows', shape (2 or 4, units)."""
    count = columns.shape[1]

    def figure(drawn: NDArray[np.float64]) -> float:
        sums = drawn.sum(axis=1)
        below = sums[1::2].prod()
        return float(sums[0::2].prod() / below) if below else math.nan

    value = figure(columns)
    if count < 2 or math.isnan(value):
        return Estimate(value, math.nan, math.nan, count)
    generator = np.random.default_rng(seed)
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


def mean(values: Iterable[float], seed: int = 0) -> Estimate:
    """Arithmetic mean, with the interval of `ratio`."""
    listed = list(values)
    return ratio(listed, [1.0] * len(listed), seed)


@dataclass(frozen=True)
class Errors:
    """Edits that turn a hypothesis into its reference, and the reference's length, in units."""

    edits: int
    reference_units: int


def errors(reference: Sequence[str], hypothesis: Sequence[str]) -> Errors:
    """Levenshtein distance over units: words give WER, characters give CER."""
    return Errors(Levenshtein.distance(reference, hypothesis), len(reference))


def corpus_wer(counts: Iterable[Errors], seed: int = 0) -> Estimate:
    """All edits over all reference units, one `Errors` an utterance."""
    listed = list(counts)
    return ratio([e.edits for e in listed], [e.reference_units for e in listed], seed)


def nearest_window(
    reference: Sequence[str],
    hypotheses: Sequence[Sequence[str]],
    free_head: int,
    free_tail: int,
    expected: tuple[int, int],
) -> tuple[int, int]:
    """The part of a text that was heard, by what was heard: reference[first:last].

    Up to `free_head` units may be missing in front and `free_tail` behind. Of all such windows it
    is the one with the fewest edits to all `hypotheses` together, so that every system is scored
    against the same reference; among equals the longest (a word at the edge was rather misheard
    than invented), then the one nearest to `expected`. Silence has no say, nor has a loop, more
    than twice as long as the whole text. An edge word that all systems missed is not counted
    against them.
    """
    ids: dict[str, str] = {}

    def code(units: Sequence[str]) -> str:
        return "".join([ids.setdefault(unit, chr(len(ids))) for unit in units])

    coded = code(reference)
    length = len(coded)
    said = [code(each) for each in hypotheses if 0 < len(each) <= 2 * length]
    if not said:
        return expected
    # A text of an hour has too many windows: search around the best match of any hypothesis, and
    # around where the window should be.
    best = max((_match(coded, each) for each in said), key=lambda match: match.score)
    reach = max(map(len, said))
    latest_first, earliest_last = min(free_head, length), max(length - free_tail, 0)
    windows = {
        (first, last)
        for near_first, near_last in ((best.src_start, best.src_end), expected)
        for first in _around(near_first, reach, 0, latest_first)
        for last in _around(near_last, reach, earliest_last, length)
        if first <= last
    }

    def cost(window: tuple[int, int]) -> tuple[int, int, int, int]:
        first, last = window
        edits = sum(Levenshtein.distance(coded[first:last], each) for each in said)
        away = abs(first - expected[0]) + abs(last - expected[1])
        return edits, first - last, away, first

    return min(windows, key=cost, default=expected)


def _around(place: int, reach: int, lowest: int, highest: int) -> range:
    """Positions from `lowest` to `highest` near a place; the nearest one where none is."""
    return range(
        min(max(place - reach, lowest), highest), max(min(place + reach, highest), lowest) + 1
    )


def _match(text: str, part: str) -> ScoreAlignment:
    """Where `part` fits best into `text`."""
    found = fuzz.partial_ratio_alignment(text, part)
    return found or ScoreAlignment(0.0, 0, len(text), 0, len(part))
