"""Speaker confidence on made embeddings."""

import numpy as np

from gpa.curation.segment.voices import (
    around,
    changes,
    doubtful,
    speaker_confidence,
    windows,
)

ANNA, BERT = np.eye(3, dtype=np.float32)[:2]
SPEAKERS = np.stack([ANNA, BERT])


def test_a_voice_like_its_speaker_is_certain_and_like_another_is_not():
    assert speaker_confidence(ANNA[np.newaxis], SPEAKERS, own=0)[0] > 0.99
    assert speaker_confidence(ANNA[np.newaxis], SPEAKERS, own=1)[0] < 0.01


def test_a_voice_between_two_speakers_is_neither():
    between = (ANNA + BERT) / np.sqrt(2)
    assert speaker_confidence(between[np.newaxis], SPEAKERS, own=0)[0] < 0.5


def test_a_stranger_is_not_taken_for_the_only_speaker():
    stranger = np.array([[0.4, 0.0, np.sqrt(1 - 0.16)]], np.float32)
    assert speaker_confidence(stranger, SPEAKERS[:1], own=0)[0] < 0.05


def test_a_clip_without_an_embedding_has_no_confidence():
    missing = np.full((1, 3), np.nan, np.float32)
    assert speaker_confidence(missing, SPEAKERS, own=0)[0] == 0


def test_windows_stay_inside_the_speech():
    assert windows(10, 30, sample_rate=10) == [(10, 26), (14, 30)]
    assert windows(10, 25, sample_rate=10) == []


def test_the_middle_of_a_doubtful_window_is_cut_away():
    found = [(0, 16), (4, 20), (40, 56)]
    confidences = np.array([0.2, 0.3, 0.9])
    assert doubtful(found, confidences, threshold=0.5, sample_rate=10) == [(4, 16)]


def test_strangers_on_both_sides_of_a_pause_are_a_change_and_one_person_is_none():
    assert changes(ANNA, BERT)
    assert not changes(ANNA, ANNA)
    assert not changes(ANNA, np.full(3, np.nan, np.float32))


def test_what_is_compared_around_a_pause_is_near_it_and_in_the_stretch():
    assert around((100, 130), start=40, end=1000, sample_rate=10) == ((60, 100), (130, 170))
    assert around((100, 130), start=70, end=140, sample_rate=10) == ((70, 100), (130, 140))
