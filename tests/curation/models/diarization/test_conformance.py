"""What every diarizer promises, whatever it is made of."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
from torch import nn

from gpa.curation.models.protocols import Diarization, Diarizer
from tests.curation.models.diarization.conftest import DIARIZERS

RATE = 16000


def assert_sound(found: Diarization, samples: int) -> None:
    """Times inside the clip and rising, speakers in order of appearance, voices of unit length."""
    starts_s = [turn.start_s for turn in found.turns]
    assert starts_s == sorted(starts_s)
    for start_s, end_s in [(t.start_s, t.end_s) for t in found.turns] + list(found.overlaps):
        assert 0 <= start_s < end_s <= samples / RATE
    appearance = list(dict.fromkeys(turn.speaker for turn in found.turns))
    assert appearance == list(range(len(found.embeddings)))
    lengths = np.linalg.norm(found.embeddings, axis=1)
    assert np.isclose(lengths[lengths > 0], 1, atol=1e-5).all()


def assert_alike(one: Diarization, other: Diarization) -> None:
    assert (one.turns, one.overlaps) == (other.turns, other.overlaps)
    np.testing.assert_array_equal(one.embeddings, other.embeddings)


@pytest.mark.parametrize("samples", [0, 1, RATE // 5, 7 * RATE])
def test_nothing_in_gives_nothing(any_diarizer: Diarizer, samples: int):
    found = any_diarizer.diarize(np.zeros(samples, np.float32), RATE)
    assert (found.turns, found.overlaps, len(found.embeddings)) == ((), (), 0)


@pytest.mark.parametrize("samples", [799, 801, RATE // 5, 3333, 2 * RATE + 1])
def test_a_fifth_of_a_second_and_odd_lengths_are_heard(
    any_diarizer: Diarizer, conversation: np.ndarray, samples: int
):
    assert_sound(any_diarizer.diarize(conversation[RATE:][:samples], RATE), samples)


def test_almost_half_a_minute_is_heard_twice_alike(
    any_diarizer: Diarizer, conversation: np.ndarray
):
    clip = np.resize(conversation, round(29.9 * RATE))
    found = any_diarizer.diarize(clip, RATE)
    assert found.turns
    assert_sound(found, len(clip))
    assert_alike(found, any_diarizer.diarize(clip, RATE))


def test_what_was_heard_before_does_not_matter(any_diarizer: Diarizer, conversation: np.ndarray):
    clip = conversation[: 5 * RATE]
    alone = any_diarizer.diarize(clip, RATE)
    any_diarizer.diarize(conversation[9 * RATE : 19 * RATE], RATE)
    assert_alike(alone, any_diarizer.diarize(clip, RATE))


def test_another_sample_rate_says_the_same_times(any_diarizer: Diarizer, conversation: np.ndarray):
    clip = conversation[: 10 * RATE]
    found = any_diarizer.diarize(np.repeat(clip, 3), 3 * RATE)
    assert found.turns
    assert_sound(found, len(clip))


def test_embeddings_come_in_order_and_none_for_a_moment(
    any_diarizer: Diarizer, conversation: np.ndarray
):
    clips = [conversation[: 2 * RATE], conversation[: RATE // 2], conversation[9 * RATE :]]
    rows = any_diarizer.embed(clips, RATE)
    np.testing.assert_allclose(np.linalg.norm(rows[[0, 2]], axis=1), 1, atol=1e-5)
    assert np.isnan(rows[1]).all()
    np.testing.assert_array_equal(rows[::-1], any_diarizer.embed(clips[::-1], RATE))
    assert any_diarizer.embed([], RATE).shape == (0, rows.shape[1])


def test_facts_name_weights_by_hash_and_licence(any_diarizer: Diarizer):
    facts = any_diarizer.facts()
    assert facts.weights
    assert all(len(weights.sha256) == 64 and weights.licence for weights in facts.weights)
    assert facts.memory_mb > 0


@pytest.mark.parametrize("make", DIARIZERS.values(), ids=DIARIZERS)
def test_dropping_a_diarizer_frees_its_networks(
    make: Callable[[], Diarizer], conversation: np.ndarray
):
    gc.collect()
    before = {id(module) for module in _networks()}
    diarizer = make()
    diarizer.load()
    diarizer.diarize(conversation[: 3 * RATE], RATE)
    gc.collect()
    alive = weakref.WeakSet(module for module in _networks() if id(module) not in before)
    assert alive
    del diarizer
    gc.collect()
    assert not alive


def _networks() -> list[nn.Module]:
    return [each for each in gc.get_objects() if isinstance(each, nn.Module)]
