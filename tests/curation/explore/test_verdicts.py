"""Verdicts: a line each, on the disk at once, of several people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from gpa.curation.explore.verdicts import Verdicts
from gpa.curation.package.verdicts import Verdict


def given(verdicts: Verdicts, utterance_id: str) -> set[tuple[str, str, str | None]]:
    return {(each.reviewer, each.verdict, each.text) for each in verdicts.of(utterance_id)}


def test_the_last_verdict_of_each_reviewer_counts_and_every_line_stays(tmp_path: Path):
    file = tmp_path / "verdicts.jsonl"
    verdicts = Verdicts(file)
    verdicts.add(Verdict(utterance_id="a", verdict="right", reviewer="ann"))
    verdicts.add(Verdict(utterance_id="a", verdict="wrong", reviewer="bo", text="ein Wort\nmehr"))
    verdicts.add(Verdict(utterance_id="a", verdict="unsure", reviewer="ann"))
    for read in (verdicts, Verdicts(file)):
        assert given(read, "a") == {("ann", "unsure", None), ("bo", "wrong", "ein Wort\nmehr")}
        assert read.differing() == ["a"]
        assert len(read) == 1
    assert len(file.read_text().splitlines()) == 3


def test_a_line_that_was_cut_off_by_a_kill_is_taken_away(tmp_path: Path):
    file = tmp_path / "verdicts.jsonl"
    Verdicts(file).add(Verdict(utterance_id="a", verdict="right"))
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"utterance_id": "b", "ver')
    verdicts = Verdicts(file)
    assert file.read_bytes() == whole
    verdicts.add(Verdict(utterance_id="c", verdict="wrong"))
    assert [json.loads(line)["utterance_id"] for line in file.read_text().splitlines()] == [
        "a",
        "c",
    ]


@pytest.mark.parametrize(
    "wrong", [{"verdict": "maybe"}, {"utterance_id": ""}, {"text": "x" * 10_001}, {"extra": 1}]
)
def test_what_is_no_verdict_is_refused(wrong):
    with pytest.raises(ValidationError):
        Verdict.model_validate({"utterance_id": "a", "verdict": "right"} | wrong)
