"""A batch of clips gives what each clip gives alone, and no more than it should depends on it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from gpa.tokenize.exact import exact_float32
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.glm.features import chunks, token_count

# Squared distances, of the order of 100, differ by this at most between batch sizes.
ROUNDING = 1e-2


def assert_same_tokens(tokenizer: GLMTokenizer, clips: list[np.ndarray]) -> int:
    """Returns how many tokens differ, all of them ties within float32 rounding."""
    differing = 0
    for clip, together in zip(clips, tokenizer.encode(clips, 16000), strict=True):
        (alone,) = tokenizer.encode([clip], 16000)
        assert together.shape == alone.shape
        turned = np.flatnonzero(together != alone)
        differing += len(turned)
        if len(turned):
            with exact_float32():
                states = np.concatenate([tokenizer.states([c])[0] for c in chunks(clip)])
                best = tokenizer.encoder.distances(states[turned]).topk(2, largest=False).values
            assert best.diff(dim=1).max() < ROUNDING
    return differing


@settings(max_examples=20)
@given(st.lists(st.floats(0.025, 12), min_size=2, max_size=5), st.integers(0, 1000))
def test_tokens_of_a_batch_are_those_of_single_clips(glm, speech, durations, seed):
    clips = [speech(round(seconds * 16000), seed + clip) for clip, seconds in enumerate(durations)]
    event(f"tokens that differ: {assert_same_tokens(glm, clips)}")


def test_a_batch_from_25_ms_to_60_s_has_the_tokens_of_single_clips(
    small_folders, speech, record_property
):
    tokenizer = GLMTokenizer.load(small_folders[1], max_batch_s=120)
    clips = [speech(round(s * 16000), round(s)) for s in (0.025, 60, 0.3, 31, 29.99, 7.3, 4.01)]
    record_property("tokens that differ", assert_same_tokens(tokenizer, clips))


def test_padding_changes_no_state(glm, speech):
    pieces = [speech(samples, samples) for samples in (1, 50_000, 200_000, 70_001)]
    with exact_float32():
        padded = glm.states(pieces).numpy()
        for row, piece in zip(padded, pieces, strict=True):
            alone = glm.states([piece])[0].numpy()
            np.testing.assert_allclose(row[: len(alone)], alone, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("samples", "count"),
    [
        (1, 1),
        (1280, 1),
        (1281, 2),
        (16_000, 13),
        (116_800, 92),
        (480_000, 375),
        (480_001, 376),
        (496_000, 388),
    ],
)
def test_a_token_stands_for_each_begun_80_ms(glm, speech, samples, count):
    assert token_count(samples) == count
    (tokens,) = glm.encode([speech(samples)], 16000)
    assert tokens.shape == (count,)


def test_a_token_is_final_once_its_block_of_4_s_is_complete(glm, speech):
    long = speech(200_000)
    # The loudest sample, which sets the floor of the log-mel, is the same in both.
    long[100] = 1
    short, whole = glm.encode([long[:128_000], long], 16000)
    # Two tokens hear, through the spectrogram's window, what follows the cut.
    np.testing.assert_array_equal(short[:50], whole[:50])


def test_chunks_of_30_s_do_not_hear_each_other(glm, speech):
    first, second = speech(480_000, 1), speech(30_000, 2)
    (together,) = glm.encode([np.concatenate([first, second])], 16000)
    apart = np.concatenate(glm.encode([first, second], 16000))
    np.testing.assert_array_equal(together, apart)


def test_no_clips_have_no_tokens(glm):
    assert glm.encode([], 16000) == []


def test_memory_is_bounded_by_the_batch(small_folders, speech, monkeypatch):
    tokenizer = GLMTokenizer.load(small_folders[1], max_batch_s=40)
    seen_s = []
    states = tokenizer.states

    def record(pieces):
        seen_s.append(len(pieces) * max(map(len, pieces)) / 16000)
        return states(pieces)

    monkeypatch.setattr(tokenizer, "states", record)
    tokenizer.encode([speech(samples) for samples in (700_000, 250_000, 240_000, 230_000)], 16000)
    assert max(seen_s) <= 40
