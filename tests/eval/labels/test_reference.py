"""The truth text of a cut: by words' times, whole turns, or the words that were heard."""

from __future__ import annotations

import pytest

from gpa.curation.models.protocols import Word
from gpa.eval.labels.reference import reference
from gpa.eval.labels.truth import Truth, TruthTurn

FIRST = TruthTurn(1.0, 5.0, "ann", "red fish swim in cold seas")
SECOND = TruthTurn(6.0, 8.0, "bob", "green birds sing")
TALK = Truth((FIRST, SECOND), timed=True)


def said(truth: Truth, start_s: float, end_s: float, *hypotheses: str):
    found = reference(truth, start_s, end_s, "en", hypotheses)
    return (" ".join(found.units), found.way) if found else None


def test_turns_that_are_covered_whole_give_all_their_words():
    assert said(TALK, 0.9, 5.1, "fish") == (FIRST.text, "whole turns")
    assert said(TALK, 0.9, 8.1, "") == (f"{FIRST.text} {SECOND.text}", "whole turns")


def test_a_sliver_that_is_missing_holds_no_word():
    assert said(TALK, 1.15, 4.9, "") == (FIRST.text, "whole turns")


def test_of_a_part_the_words_that_were_heard_count():
    assert said(TALK, 2.2, 4.4, "swim in gold") == ("swim in cold", "part of a turn")


def test_every_text_is_scored_against_the_words_that_all_of_them_heard():
    part = said(TALK, 2.2, 4.0, "swim in cold", "in cold")
    assert part == said(TALK, 2.2, 4.0, "in cold", "swim in cold")


def test_only_the_side_that_was_cut_off_is_free():
    # Nothing of the second turn's end is missing, so "sing" counts although nobody heard it.
    assert said(TALK, 6.8, 8.1, "birds") == ("birds sing", "part of a turn")


def test_what_was_cut_off_holds_no_more_words_than_can_be_said():
    # 0.3 s hold three words at most: "in cold seas" is in the cut although it was not heard.
    assert said(TALK, 1.3, 5.0, "seas") == ("in cold seas", "part of a turn")


def test_where_two_speak_at_once_the_longer_part_is_the_text():
    late = TruthTurn(4.4, 5.4, "bob", "hello")
    assert said(Truth((FIRST, late), timed=True), 1.0, 5.0, "")[0] == FIRST.text


def test_where_nobody_speaks_every_word_is_an_error():
    assert said(TALK, 9.0, 11.0, "thank you") == ("", "nobody speaks")


def test_turns_without_text_are_not_judged():
    silent = TruthTurn(6.0, 8.0, "bob")
    assert said(Truth((FIRST, silent), timed=True), 0.9, 8.1, "red") is None
    assert said(Truth((silent,), timed=True), 9.0, 10.0, "red") is None


@pytest.mark.parametrize(
    ("start_s", "words"), [(0.0, "red fish"), (0.2, "red fish"), (0.3, "fish")]
)
def test_times_of_words_decide_where_the_truth_has_them(start_s: float, words: str):
    timed = (Word("red", 0.0, 0.5), Word("fish", 0.5, 1.0), Word("swim", 1.0, 1.5))
    truth = Truth((FIRST,), timed=False, words=timed)
    assert said(truth, start_s, 1.1, "anything") == (words, "word times")


def test_the_units_of_chinese_are_characters():
    turn = TruthTurn(0.0, 3.0, "a", "你好，世界。", language="zh")
    found = reference(Truth((turn,), timed=True), 0.0, 3.0, "en", [])
    assert found.units == ("你", "好", "世", "界")
    assert found.language == "zh"
