"""Speech kept, cross-talk and speaker labels on a talk that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpa.eval.labels.outputs import Output, Recording
from gpa.eval.labels.speakers import foreign_speech_s, kept_of_turns, speaker_figures
from gpa.eval.labels.truth import Truth, TruthTurn

TALK = Truth(
    (TruthTurn(0.0, 4.0, "ann"), TruthTurn(3.0, 8.0, "bob")), timed=True, noise=((5.0, 6.0),)
)


def test_only_what_one_speaker_says_alone_counts_as_kept():
    first, second = kept_of_turns(TALK, [(2.0, 5.5)])
    assert (first.alone_s, first.kept_s) == (3.0, 1.0)
    assert (second.alone_s, second.kept_s) == (4.0, 1.5)
    assert (second.noisy_s, second.noisy_kept_s) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("start_s", "end_s", "foreign_s"),
    [(0.0, 3.0, 0.0), (0.0, 3.2, 0.2), (3.0, 8.0, 1.0), (9.0, 10.0, 0.0)],
)
def test_foreign_speech_is_that_of_all_but_the_main_speaker(start_s, end_s, foreign_s):
    assert foreign_speech_s(TALK, start_s, end_s) == pytest.approx(foreign_s)


def figures(output: Output, *cuts: tuple[float, float, str]):
    blank = output.utterances[0]
    utterances = [replace(blank, start_s=a, end_s=b, speaker=who) for a, b, who in cuts]
    truth = Truth((TruthTurn(0.0, 4.0, "ann"), TruthTurn(6.0, 10.0, "bob")), timed=True)
    return speaker_figures([(Recording("r", "mix", 20.0, "p"), truth, utterances)])


def test_perfect_cuts_have_no_error_whatever_the_speakers_are_called(output: Output):
    found = figures(output, (0.0, 4.0, "s1"), (6.0, 10.0, "s0"))
    assert found["diarization error rate"].value == 0
    assert found["speaker purity of cuts"].value == 1
    assert found["speaker coverage of cuts"].value == 1


def test_one_label_for_two_people_is_impure(output: Output):
    found = figures(output, (0.0, 4.0, "s0"), (6.0, 10.0, "s0"))
    assert found["speaker purity of cuts"].value == 0.5
    assert found["speaker coverage of cuts"].value == 1
    assert found["of it confusion"].value == 0.5


def test_two_labels_for_one_person_do_not_cover(output: Output):
    found = figures(output, (0.0, 2.0, "s0"), (2.0, 4.0, "s1"), (6.0, 10.0, "s2"))
    assert found["speaker purity of cuts"].value == 1
    assert found["speaker coverage of cuts"].value == 0.75


def test_speech_that_was_not_cut_is_missed_and_spares_purity(output: Output):
    found = figures(output, (0.0, 4.0, "s0"))
    assert found["of it missed detection"].value == 0.5
    assert found["speaker purity of cuts"].value == 1
