"""What the voters hear before and after denoising."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gpa.eval.labels import score as curation
from gpa.eval.labels import versions
from gpa.eval.labels.outputs import Output
from gpa.eval.labels.truth import read_truth


def test_the_version_that_the_run_transcribed_is_in_its_tables(output: Output):
    chosen = versions.sample(output, output.utterances)
    texts = versions.heard(output, chosen, "normalized")
    assert texts["b"] == {"one": "green fish", "two": "red fish swim in cold seas"}


def test_agreement_is_the_papers_pwer():
    same = {"one": "The cat.", "two": "the cat", "three": "The CAT!"}
    assert versions.agreement(same, "en") == 0
    # One word of four, and one of two: the mean of both directions.
    assert versions.agreement({"one": "a b", "two": "a b c d"}, "en") == pytest.approx(0.75)


def test_only_utterances_with_both_versions_and_two_voters_are_heard(output: Output):
    one, two, three = output.utterances
    alone = dataclasses.replace(two, hypotheses={"one": "hello"})
    one_version = dataclasses.replace(three, denoised_mos=None)
    assert versions.sample(output, [one, alone, one_version]) == [one]


def test_the_sample_is_bounded_and_always_the_same(output: Output):
    many = [
        dataclasses.replace(output.utterances[0], utterance_id=f"u{number}") for number in range(99)
    ]
    chosen = versions.sample(output, many)
    assert len(chosen) == versions.SAMPLE
    assert chosen == versions.sample(output, many)


def test_a_recogniser_that_is_not_here_is_a_note_and_no_failure(output: Output, truth_folder: Path):
    result = curation.score(output, read_truth(truth_folder), hear_versions=True)
    assert "pWER, denoised" not in result.figures["Audio and agreement"]
    assert any("other version is not known: The weights" in note for note in result.notes)
