"""Written words as a reader says them."""

import pytest

from gpa.curation.models.align.spoken import spoken_words, timed_words
from gpa.curation.models.protocols import Word


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("21", "twenty one"),
        ("21st", "twenty first"),
        ("1999", "nineteen ninety nine"),
        ("1980s", "nineteen eighties"),
        ("1,999", "one thousand nine hundred and ninety nine"),
        ("3.14", "three point one four"),
        ("$3", "three dollars"),
        ("50%", "fifty percent"),
        ("10:05", "ten zero five"),
        ("AT&T", "at and t"),
        ("MP3", "mp three"),
        ("picture-books", "picture books"),
        ("Don’t", "don't"),
        ("U.S.", "u.s."),
        ("Mr.", "mr."),
        ("１２", "twelve"),
        ("'", ""),
    ],
)
def test_english(written, spoken):
    assert " ".join(spoken_words(written, "en")) == spoken


def test_digits_of_other_languages():
    assert spoken_words("21", "de") == ["einundzwanzig"]
    assert spoken_words("21", "xx") == ["21"]


def test_a_number_of_several_spoken_words_gets_one_span():
    times = [(0.0, 0.2), (0.3, 0.6), (0.6, 0.9)]
    assert timed_words(["21", "books"], [["twenty", "one"], ["books"]], times) == (
        Word("21", 0.0, 0.6),
        Word("books", 0.6, 0.9),
    )


def test_times_that_do_not_fit_the_words_are_an_error():
    with pytest.raises(ValueError, match="1 words were timed, 2 are spoken"):
        timed_words(["21"], [["twenty", "one"]], [(0.0, 0.1)])
