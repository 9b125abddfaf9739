"""Figures and their intervals: equal to libraries and to hand-made sums."""

from __future__ import annotations

import math

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gpa.eval.metrics import corpus_wer, errors, mean, nearest_window, ratio

WORDS = st.lists(st.sampled_from("red green blue fish bird".split()), max_size=8)


@given(st.lists(st.tuples(WORDS.filter(bool), WORDS), min_size=1, max_size=6))
def test_corpus_wer_is_that_of_jiwer(pairs):
    ours = corpus_wer(errors(reference, hypothesis) for reference, hypothesis in pairs)
    theirs = jiwer.wer([" ".join(r) for r, _ in pairs], [" ".join(h) for _, h in pairs])
    assert ours.value == pytest.approx(theirs)


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


def test_the_window_is_what_was_heard_of_a_longer_text():
    said = "it was the best of times it was the worst of times".split()
    heard = ["was the worst of".split(), "was the first of".split()]
    assert nearest_window(said, heard, 10, 10, (0, 12)) == (7, 11)


def test_of_equal_windows_it_is_the_one_near_where_the_cut_lies():
    said = "it was the best of times it was the worst of times".split()
    assert nearest_window(said, [["it", "was", "the"]], 10, 10, (0, 4)) == (0, 3)
    assert nearest_window(said, [["it", "was", "the"]], 10, 10, (7, 9)) == (6, 9)


def test_silence_has_no_say_in_the_window():
    assert nearest_window(["a", "b", "c"], [[], ["b"]], 2, 2, (0, 3)) == (1, 2)
    assert nearest_window(["a", "b", "c"], [[]], 2, 2, (0, 2)) == (0, 2)


@given(WORDS, WORDS.filter(bool), WORDS)
def test_words_that_were_not_cut_off_are_never_left_out(head, middle, tail):
    first, last = nearest_window(
        head + middle + tail, [["nothing", "alike"]], len(head), len(tail), (0, 0)
    )
    assert first <= len(head)
    assert last >= len(head) + len(middle)
