"""The books: what balances is left alone, and every kind of loss is named."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from gpa.curation.ingest.stage import CORPUS
from gpa.curation.report.books import Books, StageTables, corpus_rejects, keep, stage_rejects
from gpa.curation.shards import MANIFEST_SCHEMA
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.stage import Reject
from gpa.runtime.storage import Store
from tests.tables import artifact, table

FINGERPRINTS = {"recordings": "1", "normalized": "n", "utterances": "u", "consensus": "c"}
STAGES = [
    StageTables("normalize", "normalized", "n"),
    StageTables("segment", "utterances", "u"),
    StageTables("consensus", "consensus", "c"),
]


@pytest.fixture
def run(tmp_path: Path):
    """A run over three files: 10 s curated from, 4 s a duplicate, 3 s unreadable after all.

    Of the 10 s, 5 are kept, 2 were dropped by consensus, and 3 are no speech.
    """
    artifacts = ArtifactStore(Store(str(tmp_path)))
    recordings = ({"recording_id": "r1", "path": "a.wav"}, {"recording_id": "r2", "path": "b.wav"})
    artifacts.write("recordings", "1", "p", artifact("recordings", *recordings))
    normalized = {"recording_id": "r1", "duration_s": 10.0}
    unreadable = Reject("r2", "unreadable", 3.0)
    artifacts.write(
        "normalized", "n", "p", artifact("normalized", normalized, rejects=[unreadable])
    )
    utterances = (
        {"utterance_id": "r1-1", "recording_id": "r1", "duration_s": 5.0},
        {"utterance_id": "r1-2", "recording_id": "r1", "duration_s": 2.0},
    )
    silence = Reject("r1", "non_speech", 3.0, start_s=7.0, end_s=10.0)
    artifacts.write("utterances", "u", "p", artifact("utterances", *utterances, rejects=[silence]))
    disagreed = Reject("r1", "disagreement", 2.0, "r1-2", 5.0, 7.0, 0.4)
    artifacts.write("consensus", "c", "p", artifact("consensus", rejects=[disagreed]))
    corpus = table(
        CORPUS,
        {"recording_id": "r1", "path": "a.wav", "state": "recording", "duration_s": 10.1},
        {"recording_id": "r2", "path": "b.wav", "state": "recording", "duration_s": 3.0},
        {
            "recording_id": "r1-2", "path": "c.wav", "state": "rejected", "duration_s": 4.0,
            "reason": "duplicate",
        },
        {"path": "notes", "state": "ignored"},
    )  # fmt: skip
    return artifacts, corpus


def manifest(*kept: tuple[str, str, float]) -> pa.Table:
    return table(
        MANIFEST_SCHEMA,
        *({"utterance_id": u, "recording_id": r, "duration_s": s} for u, r, s in kept),
    )


def account(run, kept: pa.Table) -> Books:
    artifacts, corpus = run
    rejected = pa.concat_tables(
        [corpus_rejects(corpus), *stage_rejects(artifacts, STAGES, "1", "p")]
    )
    return keep(artifacts, corpus, FINGERPRINTS, ["p"], kept, rejected)


def test_every_second_has_one_place(run):
    books = account(run, manifest(("r1-1", "r1", 5.0)))
    assert books.differences == []
    assert books.in_s == 17.0
    assert books.kept_s == 5.0
    assert books.non_speech_s == 3.0
    assert dict(books.dropped_s) == {
        "duplicate": 4.0,
        "unreadable": 3.0,
        "non_speech": 3.0,
        "disagreement": 2.0,
    }
    assert books.balance_s == pytest.approx(0)
    assert dict(books.recordings) == {"curated": 1, "rejected": 2, "ignored": 1}
    assert dict(books.dropped_utterances) == {"disagreement": 1}


def test_seconds_that_a_header_promised_went_in_and_are_accounted_for(run):
    artifacts, _ = run
    rejects = [
        Reject("r1", "damaged", 2.5, start_s=10.0, end_s=12.5),
        Reject("r2", "unreadable", 3.0),
    ]
    decoded = {"recording_id": "r1", "duration_s": 10.0}
    artifacts.write("normalized", "n", "p", artifact("normalized", decoded, rejects=rejects))
    books = account(run, manifest(("r1-1", "r1", 5.0)))
    assert books.differences == []
    assert books.in_s == 19.5
    assert books.dropped_s["damaged"] == 2.5
    assert dict(books.recordings) == {"curated": 1, "rejected": 2, "ignored": 1}


def test_an_utterance_that_is_nowhere_is_named(run):
    books = account(run, manifest())
    assert "utterance r1-1 is in curated or rejected 0 times, not once" in books.differences
    assert "a.wav: 10.000 s went in, 5.000 s are accounted for" in books.differences


def test_an_utterance_that_is_kept_and_dropped_is_named(run):
    books = account(run, manifest(("r1-1", "r1", 5.0), ("r1-2", "r1", 2.0)))
    assert "utterance r1-2 is in curated or rejected 2 times, not once" in books.differences


def test_an_utterance_that_is_kept_twice_or_was_never_cut_is_named(run):
    books = account(run, manifest(("r1-1", "r1", 5.0), ("r1-1", "r1", 5.0), ("x", "r1", 0.0)))
    assert "utterance r1-1 is in curated 2 times" in books.differences
    assert "utterance x is in curated but was never cut" in books.differences
