"""Errors that recognisers share, against counts made by hand and against chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.report.overlap import outcomes, overlaps, total

words = st.lists(st.sampled_from("abcd"), max_size=8)


def test_an_outcome_is_what_was_heard_at_each_place():
    assert outcomes(["the", "cat", "sat", "down"], ["the", "hat", "sat"]) == [
        "the",
        "hat",
        "sat",
        None,
    ]


def test_what_was_added_is_no_error_at_a_place():
    assert outcomes(["a", "b"], ["a", "x", "b"]) == ["a", "b"]


@given(words)
def test_the_right_text_has_no_wrong_place(reference: list[str]):
    assert outcomes(reference, reference) == reference


@given(words, words)
def test_two_that_hear_the_same_share_all_their_errors(reference: list[str], heard: list[str]):
    (pair,) = overlaps([reference], [{"one": heard, "two": heard}]).values()
    found = total(pair)
    assert found.first_wrong == found.second_wrong == found.both_wrong == found.same_wrong


@given(words, words, words)
def test_the_order_of_two_recognisers_does_not_matter(reference, first, second):
    one = total(*overlaps([reference], [{"a": first, "b": second}]).values())
    other = total(*overlaps([reference], [{"a": second, "b": first}]).values())
    assert (one.first_wrong, one.second_wrong) == (other.second_wrong, other.first_wrong)
    assert (one.both_wrong, one.same_wrong) == (other.both_wrong, other.same_wrong)


def test_shared_errors_are_counted_by_place_and_by_what_was_heard():
    reference = ["one", "two", "three", "four", "five", "six"]
    heard = {
        "x": ["one", "too", "tree", "four", "fife", "six"],  # 3 wrong
        "y": ["one", "too", "free", "four", "five"],  # 3 wrong: the same, another, nothing
    }
    (pair,) = overlaps([reference], [heard]).values()
    found = total(pair)
    assert (found.first_wrong, found.second_wrong) == (3, 3)
    assert (found.both_wrong, found.same_wrong) == (2, 1)
    assert found.expected_both_wrong == pytest.approx(1.5)
    assert found.times_expected == pytest.approx(2 / 1.5)


def test_only_utterances_that_both_heard_count():
    found = overlaps([["a"], ["b"]], [{"x": ["a"], "y": ["c"]}, {"x": ["b"]}])
    assert total(found["x", "y"]).reference_units == 1


def test_independent_errors_are_shared_as_often_as_by_chance():
    generator = np.random.default_rng(0)
    reference = [str(place) for place in range(50_000)]

    def err() -> list[str]:
        return [
            "wrong" if wrong else word
            for word, wrong in zip(reference, generator.random(50_000) < 0.1, strict=True)
        ]

    (pair,) = overlaps([reference], [{"x": err(), "y": err()}]).values()
    assert total(pair).times_expected == pytest.approx(1, abs=0.1)
