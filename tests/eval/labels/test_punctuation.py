"""Marks are compared word by word, whatever the words' errors do to their positions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gpa.eval.labels.punctuation import MarkCounts, count_marks, words_and_marks


def counted(reference: str, hypothesis: str) -> dict[str, tuple[int, int, int]]:
    found = count_marks(words_and_marks(reference), words_and_marks(hypothesis))
    return {mark: (c.right, c.wrong, c.missed) for mark, c in found.items()}


def test_marks_stand_after_words():
    assert words_and_marks("Well, “I know”. Do you?") == (
        ["well", "i", "know", "do", "you"],
        ["comma", None, "stop", None, "stop"],
    )


def test_marks_that_agree_are_moved_and_are_missing():
    found = counted("One, two three. Four; five.", "one two, three. four five!")
    assert found == {"comma": (0, 1, 2), "stop": (2, 0, 0)}


def test_a_word_more_or_less_shifts_nothing():
    assert counted("red, blue and green.", "red, blue green.")["comma"] == (1, 0, 0)
    assert counted("red, blue.", "red, very blue.")["stop"] == (1, 0, 0)


def test_marks_after_words_that_nobody_said_are_wrong():
    assert counted("red blue.", "red, pink, blue.")["comma"] == (0, 2, 0)
    assert counted("red, pink, blue.", "red blue.")["comma"] == (0, 0, 2)


def test_full_width_marks_count():
    assert counted("你好，世界。", "你好、世界")["comma"] == (1, 0, 0)
    assert counted("你好，世界。", "你好、世界")["stop"] == (0, 0, 1)


TEXTS = st.lists(st.sampled_from(["red", "fish,", "swims.", "far -", "off?"])).map(" ".join)


@given(TEXTS)
def test_a_text_agrees_with_itself(text):
    found = count_marks(words_and_marks(text), words_and_marks(text))
    assert all(count == MarkCounts(count.right, 0, 0) for count in found.values())


@given(TEXTS, TEXTS)
def test_every_mark_is_counted_once(reference, hypothesis):
    (_, marks), (_, heard) = words_and_marks(reference), words_and_marks(hypothesis)
    for mark, count in count_marks(words_and_marks(reference), words_and_marks(hypothesis)).items():
        assert count.right + count.missed == marks.count(mark)
        assert count.right + count.wrong == heard.count(mark)
