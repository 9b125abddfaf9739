"""The hypothesis of least risk."""

from __future__ import annotations

from gpa.curation.consensus.agreement import capped, wer_matrix
from gpa.curation.consensus.medoid import medoid


def _matrix(*texts: str):
    return capped(wer_matrix([text.split() for text in texts]))


def test_the_text_nearest_to_all_others_wins():
    matrix = _matrix("the cat sat on a mat", "the bat sat on the mat", "the cat sat on the mat")
    assert medoid(matrix, [1.0, 1.0, 1.0]) == 2


def test_between_two_the_more_confident_wins_and_ties_go_to_panel_order():
    matrix = _matrix("the cat sat on the mat", "the cat sat on mat")
    assert medoid(matrix, [0.9, 0.8]) == 0
    assert medoid(matrix, [0.8, 0.9]) == 1
    # Equal trust: neither the shorter nor the longer text has an advantage.
    assert medoid(matrix, [0.8, 0.8]) == 0
    assert medoid(_matrix("the cat sat on mat", "the cat sat on the mat"), [0.8, 0.8]) == 0


def test_confident_voters_pull_the_medoid_to_their_side():
    matrix = _matrix("a b c d", "a b c x", "a y c x")
    assert medoid(matrix, [1.0, 1.0, 1.0]) == 1
    assert medoid(matrix, [1.0, 0.1, 0.1]) == 0
