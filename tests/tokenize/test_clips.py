"""Batches by length, unusable clips, and the precision of all that is computed."""

from __future__ import annotations

import pickle

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpa.tokenize.clips import MAX_PADDING, ClipError, batches_by_length


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
    error = pickle.loads(pickle.dumps(ClipError(3, "it is empty")))
    assert (error.clip, error.reason) == (3, "it is empty")
    assert str(error) == "Clip 3 can't be tokenized: it is empty."


def test_a_mixed_list_is_encoded_but_for_its_unusable_clips(bicodec, glm, speech):
    clips = [speech(9_000, 1), np.zeros(0), speech(5_000, 2)]
    for tokenizer in (bicodec, glm):
        prepared, refused = [], []
        for clip, waveform in enumerate(clips):
            try:
                prepared.append(tokenizer.prepare(clip, waveform, 16000))
            except ClipError as error:
                refused.append(error.clip)
        assert refused == [1]
        assert len(tokenizer.encode_prepared(prepared)) == 2


def test_tokens_are_made_in_true_float32_whatever_the_program_chose(glm, speech):
    clip = speech(40_000)
    (expected,) = glm.encode([clip], 16000)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (tokens,) = glm.encode([clip], 16000)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(tokens, expected)
