"""What stands around every recogniser's network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.models.asr.hearing import SAMPLE_RATE, hear_in_batches, rising_words
from gpa.curation.models.protocols import Hypothesis

LANGUAGES = st.sampled_from(["en", "de", None])


def clip(number: int) -> np.ndarray:
    """A clip that says its number by its length."""
    return np.full(1000 + number, 0.1, np.float32)


def length_heard(clips: list, language: str | None) -> list[Hypothesis]:
    return [Hypothesis(str(len(each) - 1000), language=language) for each in clips]


@given(st.lists(LANGUAGES, max_size=20), st.integers(1, 8))
def test_batches_have_one_language_and_the_answers_come_in_order(languages, batch_size: int):
    seen: list[tuple[int, str | None]] = []

    def hear(clips: list, language: str | None) -> list[Hypothesis]:
        seen.append((len(clips), language))
        return length_heard(clips, language)

    clips = [clip(number) for number in range(len(languages))]
    heard = hear_in_batches(hear, clips, SAMPLE_RATE, languages, batch_size)
    assert heard == [Hypothesis(str(n), language=code) for n, code in enumerate(languages)]
    assert all(count <= batch_size for count, _ in seen)
    assert sum(count for count, _ in seen) == len(languages)


def test_a_batch_that_fails_is_heard_again_one_by_one():
    def hear(clips: list, language: str | None) -> list[Hypothesis]:
        if any(len(each) == 1002 for each in clips):
            raise MemoryError("too much")
        return length_heard(clips, language)

    clips = [clip(number) for number in range(4)]
    heard = hear_in_batches(hear, clips, SAMPLE_RATE, ["en"] * 4, batch_size=4)
    assert isinstance(heard[2], MemoryError)
    assert [each.text for each in heard if isinstance(each, Hypothesis)] == ["0", "1", "3"]


def test_a_clip_beyond_the_longest_is_refused_alone_with_the_remedy():
    clips = [np.full(seconds * SAMPLE_RATE, 0.1, np.float32) for seconds in (2, 1)]
    refused, heard = hear_in_batches(
        length_heard, clips, SAMPLE_RATE, ["en"] * 2, batch_size=2, longest_s=1.5
    )
    assert isinstance(heard, Hypothesis)
    with pytest.raises(ValueError, match=r"2\.0 s are more than the 1\.5 s.*segment\.max_s"):
        raise refused


@given(
    st.lists(
        st.tuples(
            st.text(min_size=1),
            st.floats(-5, 50),
            st.floats(-5, 50),
            st.floats(0, 1),
        )
    ),
    st.floats(0, 30),
)
def test_times_always_lie_in_the_clip_and_rise(words, duration_s: float):
    rising = rising_words(words, round(duration_s, 3))
    assert len(rising) == len(words)
    earliest = 0.0
    for word in rising:
        assert earliest <= word.start_s <= word.end_s <= round(duration_s, 3)
        earliest = word.start_s
