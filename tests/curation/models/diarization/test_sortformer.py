"""Sortformer's own rules; what it shares with all diarizers is in test_conformance.py."""

import numpy as np
import pytest

from gpa.curation.models.diarization.sortformer import (
    Sortformer,
    SortformerConfig,
    turns_and_overlaps,
)
from gpa.curation.models.protocols import Turn
from gpa.runtime.errors import UserError
from tests.curation.models.diarization.conftest import checkpoint, loaded

RATE = 16000


def test_frames_become_turns_in_order_of_time_and_overlaps_where_two_talk():
    active = np.array([[0, 1], [1, 1], [1, 0], [0, 0], [0, 1]], bool)
    turns, overlaps = turns_and_overlaps(active, frame_s=0.5)
    assert turns == [Turn(0, 1, 1), Turn(0.5, 1.5, 0), Turn(2, 2.5, 1)]
    assert overlaps == [(0.5, 1)]


def test_nobody_active_gives_no_turns():
    assert turns_and_overlaps(np.zeros((9, 4), bool), frame_s=0.08) == ([], [])


@pytest.mark.parametrize("version", ["v1", "streaming-v2"])
def test_a_checkpoint_of_the_other_version_names_the_setting(version):
    other = {"v1": "sortformer-v2", "streaming-v2": "sortformer-v1"}[version]
    adapter = Sortformer(SortformerConfig(version=version, weights=checkpoint(other)))
    with pytest.raises(UserError, match=r"set segment\.diarizer\.version to"):
        adapter.load()


def test_v1_is_not_for_commerce_and_v2_is():
    v1, v2 = loaded("sortformer-v1").facts(), loaded("sortformer-v2").facts()
    assert (v1.licence, v2.licence) == ("CC-BY-NC-4.0", "CC-BY-4.0")


def test_a_longer_recording_may_hold_more_people_than_one_window(conversation):
    """Whom random weights hear in two windows, no voice joins: they stay apart."""
    adapter = Sortformer(SortformerConfig(weights=checkpoint("sortformer-v2"), window_s=60))
    adapter.load()
    found = adapter.diarize(np.tile(conversation, 3), RATE)
    assert 4 < len(found.embeddings) <= 8
    assert max(turn.end_s for turn in found.turns) > 70
