"""Figures and their intervals: equal to libraries and to hand-made sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gpa.curation.intervals import mean, ratio, relative, share


def test_intervals_are_those_of_scipys_bootstrap():
    generator = np.random.default_rng(1)
    above, below = generator.poisson(2, 200), generator.poisson(20, 200)
    ours = ratio(above, below)
    theirs = stats.bootstrap(
        (above, below),
        lambda a, b, axis: a.sum(axis) / b.sum(axis),
        paired=True,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.03)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=2, max_size=30))
def test_the_interval_is_the_same_every_time_and_within_the_units_own_ratios(pairs):
    above, below = zip(*pairs, strict=True)
    estimate = ratio(above, below)
    assert estimate == ratio(above, below)
    extremes = [a / b for a, b in pairs]
    assert min(extremes) - 1e-9 <= estimate.low <= estimate.high <= max(extremes) + 1e-9


def test_nothing_to_measure_is_nan_and_one_unit_has_no_interval():
    assert math.isnan(ratio([], []).value)
    assert math.isnan(ratio([3], [0]).value)
    one = mean([0.25])
    assert (one.value, one.count) == (0.25, 1)
    assert math.isnan(one.low)


def test_one_ratio_over_another_is_resampled_together():
    edits, words = [1, 3, 0, 2, 4], [10, 12, 9, 11, 10]
    halved = relative((edits, words), ([2 * n for n in edits], words))
    # Whatever is drawn, the one is half the other.
    assert (halved.value, halved.low, halved.high) == pytest.approx((0.5, 0.5, 0.5))
    assert math.isnan(relative((edits, words), ([0] * 5, words)).value)


def test_what_was_not_seen_in_fifteen_may_still_happen():
    never = share([False] * 15)
    assert (never.value, never.low) == (0, 0)
    # One-sided at 97.5 %: (1 - p)^15 = 0.025.
    assert never.high == pytest.approx(1 - 0.025 ** (1 / 15))
    assert math.isnan(share([]).value)
