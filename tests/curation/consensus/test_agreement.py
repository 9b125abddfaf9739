"""pWER against its definition, with the conventions where WER has none."""

from __future__ import annotations

import math

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.consensus.agreement import (
    Dispute,
    capped,
    disputes,
    label_confidence,
    leave_one_out,
    outlier,
    pwer,
    pwer_lower_bound,
    wer,
    wer_matrix,
    without,
)
from gpa.curation.text.units import units

words = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=8)
panels = st.lists(words, min_size=2, max_size=5)


@given(st.lists(words.filter(bool), min_size=2, max_size=5))
def test_matrix_and_pwer_equal_a_jiwer_loop(panel):
    texts = [" ".join(each) for each in panel]
    expected = [[jiwer.wer(reference, text) for text in texts] for reference in texts]
    matrix = wer_matrix(panel)
    for row, expected_row in zip(matrix, expected, strict=True):
        assert row == pytest.approx(expected_row)
    count = len(texts)
    pairs = [expected[i][j] for i in range(count) for j in range(count) if i != j]
    assert pwer(matrix) == pytest.approx(sum(pairs) / len(pairs))


def test_spacing_of_chinese_is_no_disagreement():
    assert wer(units("你好世界", "zh"), units("你好 世界", "zh")) == 0.0


def test_wer_is_asymmetric_and_capped_only_for_the_decision():
    reference, hallucination = ["w"] * 4, [f"h{index}" for index in range(27)]
    matrix = wer_matrix([reference, hallucination])
    assert matrix[0][1] == 6.75
    assert matrix[1][0] == 1.0
    assert pwer(matrix) == pytest.approx(3.875)
    assert pwer(capped(matrix)) == 1.0


def test_silence_agrees_with_silence_and_with_nothing_else():
    assert wer_matrix([[], [], ["a", "b", "c"]]) == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]


def test_one_hypothesis_has_no_pwer():
    assert pwer(wer_matrix([["a"]])) is None
    assert pwer(wer_matrix([])) is None


@pytest.mark.parametrize(("panel_size", "limit"), [(5, 0.375), (3, 0.225)])
def test_one_outlier_at_distance_d_gives_two_d_over_n(panel_size, limit):
    same = [f"w{index}" for index in range(40)]
    wrong = round(40 * limit)
    outlier = ["x"] * wrong + same[wrong:]
    assert pwer(wer_matrix([*[same] * (panel_size - 1), outlier])) == pytest.approx(0.15)


@given(panels)
def test_leave_one_out_is_pwer_of_the_smaller_panel(panel):
    left_out = leave_one_out(capped(wer_matrix(panel)))
    for index, value in enumerate(left_out):
        expected = pwer(capped(wer_matrix(panel[:index] + panel[index + 1 :])))
        assert math.isnan(value) if expected is None else value == pytest.approx(expected)


@given(panels)
def test_the_farthest_is_the_one_without_which_pwer_is_least(panel):
    matrix = wer_matrix(panel)
    if found := outlier(panel, matrix, 0.0):
        rest = pwer(capped(without(matrix, found.place)))
        assert rest == pytest.approx(min(leave_one_out(capped(matrix))))
        whole = 2 * (len(panel) - 1) * found.distance + rest * (len(panel) - 1) * (len(panel) - 2)
        assert pwer(capped(matrix)) == pytest.approx(whole / (len(panel) * (len(panel) - 1)))
        assert outlier(panel, matrix, found.distance) is None


def test_no_outlier_where_a_panel_is_split_or_agrees_or_the_rest_is_silent():
    one, other = ["a", "b", "c"], ["d", "e", "f"]
    for panel in ([one] * 4, [one, one, other, other], [one, other], [[], [], one]):
        assert outlier(panel, wer_matrix(panel), 0.0) is None
    assert outlier([one, one, other], wer_matrix([one, one, other]), 0.3).place == 2


@given(panel=panels, heard=st.integers(0, 5))
def test_lower_bound_is_never_above_what_pwer_becomes(panel, heard):
    bound = pwer_lower_bound(panel[:heard], len(panel))
    # Whatever becomes of the rest: all vote, or only some.
    for end in range(max(heard, 2), len(panel) + 1):
        assert bound <= pwer(capped(wer_matrix(panel[:end]))) + 1e-9


def test_lower_bound_proves_disagreement_early():
    one, other = ["a"] * 10, ["b"] * 10
    assert pwer_lower_bound([one, other], 3) == pytest.approx((2 + 1.5) / 6)
    assert pwer_lower_bound([one, one], 5) == 0.0
    # The third system can't save it: pWER of three is exactly what two say it must be at least.
    assert pwer(capped(wer_matrix([one, other, one]))) >= (2 + 1.5) / 6


def test_label_confidence_ranks_by_agreement_and_by_the_voters_own():
    assert label_confidence([0.0, 0.0], [1.0, 1.0], None) == 1.0
    assert label_confidence([0.0, 0.0], [None, None], None) == 1.0
    assert label_confidence([0.0, 0.2], [0.9, 0.9], None) == pytest.approx(0.81)
    # A voter that heard something else says little about this text.
    assert label_confidence([0.0, 1.0], [0.9, 0.1], None) == pytest.approx(0.45)
    assert label_confidence([0.0], [0.8], 0.25) == pytest.approx(0.6)


def test_a_dispute_is_a_place_where_two_heard_different_words():
    heard = {"b": ["it", "14", "miles"], "a": ["it", "40", "miles"], "c": ["it", "40", "miles"]}
    assert disputes(heard) == (Dispute("a", "b", "40", "14"), Dispute("b", "c", "14", "40"))


def test_what_is_added_or_left_out_is_no_dispute_and_the_same_pair_counts_once():
    heard = {"a": ["no", "no", "no", "never"], "b": ["no", "so", "so", "never", "ever"]}
    assert disputes(heard) == (Dispute("a", "b", "no", "so"),)
