"""Verdicts as they are read: whose count, where reviewers differ, and which texts are taken over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpa.curation.package.verdicts import Verdict, agreed, corrections, read_verdicts
from gpa.runtime.errors import UserError


def written(file: Path, *rows: dict) -> Path:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return file


def said(verdict: str, text: str | None = None, reviewer: str = "") -> Verdict:
    return Verdict(utterance_id="a", verdict=verdict, text=text, reviewer=reviewer)


RIGHT, WRONG, UNSURE = said("right"), said("wrong"), said("unsure")
HELLO, HULLO = said("wrong", "hello  there "), said("wrong", "hullo there")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([RIGHT], RIGHT),
        ([RIGHT, UNSURE], RIGHT),
        ([WRONG, HELLO], HELLO),
        ([HELLO, said("wrong", "hello there")], HELLO),
        ([UNSURE], None),
        ([RIGHT, WRONG], None),
        ([RIGHT, HELLO], None),
        ([HELLO, HULLO], None),
    ],
)
def test_what_reviewers_agree_on(given, found):
    assert agreed(given) == found


def test_corrections_are_agreed_texts_with_all_who_typed_them(tmp_path: Path):
    def row(utterance_id: str, verdict: str, reviewer: str, text: str | None = None) -> dict:
        known = {"utterance_id": utterance_id, "verdict": verdict, "reviewer": reviewer}
        return known | ({"text": text} if text is not None else {})

    file = written(
        tmp_path / "verdicts.jsonl",
        row("one", "wrong", "bo", "It\u2028is  <so>."),
        row("one", "wrong", "ann", "It is <so>."),
        row("one", "unsure", "cy"),
        row("differ", "wrong", "bo", "so"),
        row("differ", "right", "ann"),
        row("took back", "wrong", "bo", "so"),
        row("took back", "right", "bo"),
        row("no text", "wrong", "bo", "  "),
        {**row("timed", "wrong", "", "so"), "duration_s": 2.0, "stratum": "of the report"},
    )
    found = corrections(read_verdicts(file))
    assert {key: (each.text, each.corrected_by) for key, each in found.items()} == {
        "one": ("It is <so>.", "ann, bo"),
        "timed": ("so", "a reviewer"),
    }
    assert [found["timed"].of(seconds) for seconds in (2.001, 2.5)] == [True, False]


@pytest.mark.parametrize("line", ["[]", "3", '{"verdict": "right"}', "{", '{"utterance_id": ""}'])
def test_a_line_that_is_no_verdict_is_named(tmp_path: Path, line: str):
    file = tmp_path / "verdicts.jsonl"
    file.write_text(f'{{"utterance_id": "a", "verdict": "right"}}\n{line}\n')
    with pytest.raises(UserError, match="line 2"):
        read_verdicts(file)
