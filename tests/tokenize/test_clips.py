"""Batches by length."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from gpa.tokenize.clips import MAX_PADDING, UnusableClip, batches_by_length


@given(st.lists(st.integers(1, 500), max_size=40), st.integers(1, 2000))
def test_each_item_is_in_one_batch_and_batches_keep_their_bounds(lengths, max_total):
    batches = list(batches_by_length(lengths, max_total))
    assert sorted(item for batch in batches for item in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[item] for item in batch)
        held = sum(lengths[item] for item in batch)
        assert padded <= max_total or len(batch) == 1
        assert padded <= (1 + MAX_PADDING) * held


def test_an_error_of_a_clip_survives_the_way_back_from_a_worker():
    error = pickle.loads(pickle.dumps(UnusableClip(3, "it is empty")))
    assert (error.clip, error.reason) == (3, "it is empty")
    assert str(error) == "Clip 3 can't be tokenized: it is empty."
