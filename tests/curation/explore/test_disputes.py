"""Which words recognisers dispute."""

from __future__ import annotations

import pyarrow as pa

from gpa.curation.explore.disputes import disputed, pairs


def test_a_dispute_is_a_place_where_two_heard_different_words():
    heard = {"a": "It was forty miles.", "b": "it was fourteen miles", "c": "It was 40 miles!"}
    assert set(pairs(heard, "en")) == {("a", "b", "40", "14"), ("b", "c", "14", "40")}


def test_what_is_added_or_left_out_is_no_dispute_and_the_same_pair_counts_once_an_utterance():
    heard = {"a": "no no no never", "b": "no so so never ever"}
    assert list(pairs(heard, "en")) == [("a", "b", "no", "so")]


def test_the_most_frequent_come_first_with_their_utterances():
    texts = pa.table(
        {
            "utterance_id": ["1", "2", "3", "4"],
            "language": ["en"] * 4,
            "heard_a": ["Ann left", "Ann left", "he feels", None],
            "heard_b": ["Anne left", "Anne left", "he fails", "x"],
        }
    )
    first, second = disputed(texts.to_batches(2), ["a", "b"])
    assert (first.heard_first, first.heard_second, first.count) == ("ann", "anne", 2)
    assert first.utterances == ["1", "2"]
    assert (second.heard_first, second.heard_second, second.utterances) == ("feels", "fails", ["3"])
