"""The page: whole in itself, and nothing that was said or named can become part of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from gpa.curation.report.audit import audit
from gpa.curation.report.outputs import open_run
from gpa.curation.report.overlap import ErrorOverlap
from gpa.curation.report.write import write_report
from gpa.runtime.stage import Artifact
from tests.curation.report.reader import Reader
from tests.curation.report.synthetic import ATTACK, NASTY_PATH, Builder, write_out


@pytest.fixture(scope="module")
def page(out: Path) -> str:
    return (out / "report" / "index.html").read_text()


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    return Reader(page)


def test_a_transcript_that_is_markup_is_shown_and_never_run(page: str, read: Reader):
    assert any(ATTACK in text for text in read.texts)
    assert ATTACK not in page
    # The page's own data and code.
    assert sum(tag == "script" for tag, _ in read.tags) == 2


def test_a_file_name_with_quotes_stays_text(page: str, read: Reader):
    assert NASTY_PATH in read.texts
    assert NASTY_PATH not in page
    assert all(tag != "b" for tag, _ in read.tags)


def defaced(artifact: Artifact, *columns: str) -> Artifact:
    """An artifact with an attack in those columns and in every reason."""
    table = artifact.table
    for name in columns:
        place, field = table.schema.get_field_index(name), table.schema.field(name)
        table = table.set_column(place, field, pa.array([ATTACK] * len(table), field.type))
    rejects = [replace(reject, reason=ATTACK, detail=ATTACK) for reject in artifact.rejects]
    return Artifact(table, artifact.files, rejects)


def test_speakers_languages_and_reasons_that_are_markup_stay_text(tmp_path: Path):
    builder = Builder(tmp_path)
    made = builder.partition("part-a", ["a.wav", "b.wav"], utterances=10)
    for stage, columns in (
        ("utterances", ("speaker",)),
        ("consensus", ("language", "reason", "chosen_asr")),
    ):
        builder.artifacts.write(stage, "1", "part-a", defaced(made[stage], *columns))
    builder.finish()
    run = open_run(str(tmp_path))
    write_report(run, audit(run, 20))
    page = (tmp_path / "report" / "index.html").read_text()
    read = Reader(page)
    assert ATTACK not in page
    assert sum(tag == "script" for tag, _ in read.tags) == 2
    headings = [text for text in read.texts if text == ATTACK]
    assert len(headings) >= 3  # a language, a speaker, a reason
    _, _, card = (tmp_path / "curated" / "README.md").read_text().split("---\n", 2)
    assert ATTACK not in card


def test_nothing_on_the_page_comes_from_elsewhere(read: Reader):
    for tag, attributes in read.tags:
        for name in ("src", "href"):
            if name in attributes:
                assert attributes[name].startswith(("data:", "#")), (tag, attributes[name])
    policy = next(a["content"] for tag, a in read.tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_only_the_pages_own_script_may_run(page: str):
    import base64
    import hashlib

    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[-1]
    sha = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{sha}'" in page


def test_figures_on_the_page_are_those_of_the_summary(out: Path, read: Reader):
    shown = json.loads((out / "report" / "summary.json").read_text())["audit"]["funnel"]
    texts = {text.strip() for text in read.texts}
    assert f"{shown['in_s'] / 60:,.2f} min" in texts
    assert f"{shown['kept_s'] / 60:,.2f} min" in texts
    for row in shown["dropped"]:
        assert f"{row['seconds'] / 60:,.2f} min" in texts
    assert any("totals reconcile" in text for text in texts)


def test_every_sample_can_be_heard_and_named(read: Reader):
    samples = [a for tag, a in read.tags if tag == "article"]
    clips = [a["src"] for tag, a in read.tags if tag == "audio"]
    assert len(samples) == len(clips) == 40
    assert all(clip.startswith("data:audio/mpeg;base64,") and len(clip) > 1000 for clip in clips)
    assert len({a["data-key"] for a in samples}) == len(samples)
    strata = {a["data-stratum"] for a in samples}
    assert {"consensus: disagreement, and unverified", "segment: truncated"} <= strata
    assert any(name.startswith("pWER 1") for name in strata)


def test_the_same_run_gives_the_same_page(out: Path, page: str):
    run = open_run(str(out))
    write_report(run, audit(run, 40))
    assert (out / "report" / "index.html").read_text() == page


def test_errors_that_two_recognisers_share_are_shown_where_a_reference_exists(tmp_path: Path):
    write_out(tmp_path, utterances=4)
    run = open_run(str(tmp_path))
    found = ErrorOverlap("alpha", "beta", 1000, 100, 50, 40, 30)
    figures = write_report(run, audit(run, 2), overlaps=[found])
    assert figures["error_overlap"][0]["expected_both_wrong"] == 5
    texts = Reader((tmp_path / "report" / "index.html").read_text()).texts
    row = texts[texts.index("alpha and beta") :]
    assert [text for text in row if text.strip()][1:8] == [
        *("1,000", "100", "50", "40", "5.0", "8.0", "30")
    ]
