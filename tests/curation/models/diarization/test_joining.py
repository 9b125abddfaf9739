"""Speakers of the windows of a long recording become those of the recording."""

import numpy as np

from gpa.curation.models.diarization.joining import Window, join_windows
from gpa.curation.models.protocols import Turn

ANNA, BERT, CARA = np.eye(3, dtype=np.float32)


def test_speakers_of_two_windows_are_joined_by_their_voices():
    first = Window((0, 50), (Turn(0, 20, 0), Turn(20, 52, 1)), (), np.stack([ANNA, BERT]))
    second = Window((50, 100), (Turn(48, 70, 0), Turn(80, 90, 1)), (), np.stack([BERT, CARA]))
    turns, _ = join_windows([first, second], threshold=0.35)
    assert turns == (Turn(0, 20, 0), Turn(20, 70, 1), Turn(80, 90, 2))


def test_two_speakers_of_one_window_are_never_joined():
    twins = np.stack([ANNA, ANNA])
    windows = [
        Window((0, 50), (Turn(0, 20, 0), Turn(20, 40, 1)), (), twins),
        Window((50, 100), (Turn(60, 70, 0), Turn(80, 90, 1)), (), twins),
    ]
    turns, _ = join_windows(windows, threshold=0.35)
    assert turns[0].speaker != turns[1].speaker
    assert turns[2].speaker != turns[3].speaker


def test_overlaps_that_meet_at_a_seam_become_one():
    windows = [
        Window((0, 50), (), ((10, 12), (49, 51)), np.zeros((0, 3), np.float32)),
        Window((50, 100), (), ((49, 53),), np.zeros((0, 3), np.float32)),
    ]
    assert join_windows(windows, threshold=0.35) == ((), ((10, 12), (49, 53)))
