"""What NeMo hears as our hypothesis, also where its own counts of words differ."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gpa.curation.models.nemo import hypothesis_of


def heard(words: list[str], word_confidence: list[float]) -> SimpleNamespace:
    """A hypothesis as NeMo's RNNT decoding fills it, a word every tenth of a second."""
    times = [{"word": word, "start": n / 10, "end": (n + 1) / 10} for n, word in enumerate(words)]
    text = " ".join(words)
    return SimpleNamespace(text=text, timestamp={"word": times}, word_confidence=word_confidence)


@pytest.mark.parametrize(
    ("words", "confidences", "expected"),
    [
        (["the", "fox"], [0.5, 1.0], [("the", 0.5), ("fox", 1.0)]),
        # Of two spaces in a row NeMo makes a word with times and without a confidence.
        (["h", "", "sh"], [0.5, 1.0], [("h", 0.5), ("sh", 1.0)]),
        # An unknown token is a word of its own where NeMo counts confidences, not where it counts times.
        (["o", " ⁇ ooo"], [0.5, 1.0, 0.6], [("o", None), ("⁇ ooo", None)]),
        ([], [], []),
    ],
)  # fmt: skip
def test_words_keep_confidences_where_it_is_known_whose_they_are(words, confidences, expected):
    hypothesis = hypothesis_of(heard(words, confidences), 1.0, "en", word_confidence=True)
    assert [(word.word, word.confidence) for word in hypothesis.words] == expected
    mean = pytest.approx(sum(confidences) / len(confidences)) if confidences else None
    assert hypothesis.confidence == mean
