"""Errors equal to a library's, and windows to hand-made ones."""

from __future__ import annotations

import jiwer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.eval.metrics import corpus_wer, errors, nearest_window

WORDS = st.lists(st.sampled_from(["red", "green", "blue", "fish", "bird"]), max_size=8)


@given(st.lists(st.tuples(WORDS.filter(bool), WORDS), min_size=1, max_size=6))
def test_corpus_wer_is_that_of_jiwer(pairs):
    ours = corpus_wer(errors(reference, hypothesis) for reference, hypothesis in pairs)
    theirs = jiwer.wer([" ".join(r) for r, _ in pairs], [" ".join(h) for _, h in pairs])
    assert ours.value == pytest.approx(theirs)


def test_the_window_is_what_was_heard_of_a_longer_text():
    said = ["it", "was", "the", "best", "of", "times", "it", "was", "the", "worst", "of", "times"]
    heard = [["was", "the", "worst", "of"], ["was", "the", "first", "of"]]
    assert nearest_window(said, heard, 10, 10, (0, 12)) == (7, 11)


def test_of_equal_windows_it_is_the_one_near_where_the_cut_lies():
    said = ["it", "was", "the", "best", "of", "times", "it", "was", "the", "worst", "of", "times"]
    assert nearest_window(said, [["it", "was", "the"]], 10, 10, (0, 4)) == (0, 3)
    assert nearest_window(said, [["it", "was", "the"]], 10, 10, (7, 9)) == (6, 9)


def test_a_word_at_the_edge_was_rather_misheard_than_invented():
    said = ["swim", "in", "cold", "seas"]
    assert nearest_window(said, [["swim", "in", "gold"]], 0, 4, (0, 2)) == (0, 3)


def test_silence_and_loops_have_no_say_in_the_window():
    assert nearest_window(["a", "b", "c"], [["b"] * 7, ["b"]], 2, 2, (0, 3)) == (1, 2)
    assert nearest_window(["a", "b", "c"], [[], ["b"]], 2, 2, (0, 3)) == (1, 2)
    assert nearest_window(["a", "b", "c"], [[]], 2, 2, (0, 2)) == (0, 2)


def test_the_words_of_a_cut_are_found_in_the_text_of_an_hour():
    generator = np.random.default_rng(3)
    said = [f"word{number}" for number in generator.integers(0, 800, size=9000)]
    heard = [*said[5000:5007], "wrong", *said[5008:5020]]
    assert nearest_window(said, [heard], 9000, 9000, (4000, 4020)) == (5000, 5020)


@given(WORDS, WORDS, st.integers(0, 8), st.integers(0, 8))
def test_no_other_window_is_nearer(said, heard, free_head, free_tail):
    first, last = nearest_window(said, [heard], free_head, free_tail, (0, len(said)))
    allowed = [
        errors(said[a:b], heard).edits
        for a in range(min(free_head, len(said)) + 1)
        for b in range(max(a, len(said) - free_tail), len(said) + 1)
    ]
    if 0 < len(heard) <= 2 * len(said):
        assert errors(said[first:last], heard).edits == min(allowed)


@given(WORDS, WORDS.filter(bool), WORDS)
def test_words_that_were_not_cut_off_are_never_left_out(head, middle, tail):
    first, last = nearest_window(
        head + middle + tail, [["nothing", "alike"]], len(head), len(tail), (0, 0)
    )
    assert first <= len(head)
    assert last >= len(head) + len(middle)
