"""Figures with their intervals: ratios of sums, corpus WER, and the part of a text that was heard.

Every figure of an evaluation is a ratio of two sums over units that were drawn alike (utterances,
turns, recordings): WER is edits over reference words, F1 is 2 TP over 2 TP + FP + FN, a mean is a
sum over a count. So one function puts intervals on all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein

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
    above = np.fromiter(numerators, float)
    below = np.fromiter(denominators, float)
    count = len(above)
    if not below.sum():
        return Estimate(float("nan"), float("nan"), float("nan"), count)
    value = float(above.sum() / below.sum())
    if count < 2:
        return Estimate(value, float("nan"), float("nan"), count)
    generator = np.random.default_rng(seed)
    resampled = []
    for _ in range(RESAMPLES):
        drawn = generator.integers(count, size=count)
        if total := below[drawn].sum():
            resampled.append(above[drawn].sum() / total)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), count)


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
    against the same reference; among equals the one nearest to `expected`. Silent hypotheses
    have no say. An edge word that all systems missed is not counted against them.
    """
    ids: dict[str, str] = {}
    coded, *said = (
        "".join([ids.setdefault(unit, chr(len(ids))) for unit in each])
        for each in [reference, *(each for each in hypotheses if each)]
    )
    if not said:
        return expected
    length = len(coded)

    def cost(window: tuple[int, int]) -> tuple[int, int, tuple[int, int]]:
        first, last = window
        edits = sum(Levenshtein.distance(coded[first:last], each) for each in said)
        away = abs(first - expected[0]) + abs(last - expected[1])
        return edits, away, window

    return min(
        (
            (first, last)
            for first in range(min(free_head, length) + 1)
            for last in range(max(first, length - free_tail), length + 1)
        ),
        key=cost,
    )
