"""Ingest: every file gets a state, copies are found, and partitions are stable."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from gpa.curation.ingest.corpus import RawFile, find
from gpa.curation.ingest.stage import (
    PROBED,
    Corpus,
    IngestConfig,
    ProbeConfig,
    ProbeStage,
    arrange,
    chunks,
    one_by_one,
)
from gpa.curation.normalize import NormalizeConfig, NormalizeStage
from gpa.curation.tables import RECORDINGS
from gpa.runtime.artifacts import parquet_bytes
from gpa.runtime.errors import NotReadError
from gpa.runtime.stage import Artifact, NoAttempts, rows
from tests import unreliable

unreliable.register()

CONFIG = IngestConfig(partition_minutes=1.0)


def tone(path: Path, seconds: float, frequency_hz: float = 220.0) -> None:
    time_s = np.arange(int(16000 * seconds)) / 16000
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(2 * np.pi * frequency_hz * time_s), 16000)


def ingest(corpus: Path | str, before: Corpus | None = None) -> Corpus:
    stage = ProbeStage("probed", ProbeConfig(), ["listing"])
    files = find(str(corpus))
    probed = [
        stage.process(chunk, {"listing": Artifact(listing)}, NoAttempts()).table
        for chunk, listing in chunks(files).items()
    ]
    known = None if before is None else before.partitions.arranged()
    return arrange(files, pa.concat_tables([PROBED.empty_table(), *probed]), {}, CONFIG, known)


def test_every_file_has_one_state(tmp_path: Path):
    tone(tmp_path / "a.wav", 2.0)
    (tmp_path / "copy of a.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    tone(tmp_path / "short.wav", 0.05)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is no audio")
    (tmp_path / "notes").write_text("nor claims to be")
    corpus = ingest(tmp_path)
    states = {row["path"]: (row["state"], row["reason"]) for row in rows(corpus.table)}
    assert states == {
        "a.wav": ("recording", None),
        "copy of a.wav": ("rejected", "duplicate"),
        "empty.wav": ("rejected", "unreadable"),
        "notes": ("ignored", None),
        "short.wav": ("rejected", "too_short"),
        "text.wav": ("rejected", "unreadable"),
    }
    copy = next(row for row in rows(corpus.table) if row["reason"] == "duplicate")
    assert copy["duplicate_of"] == "a.wav"
    (partition,) = corpus.partitions.values()
    assert partition.schema == RECORDINGS
    assert partition["path"].to_pylist() == ["a.wav"]


def test_ids_are_unique_even_among_copies_and_come_from_content(tmp_path: Path):
    for name in ("one", "two", "three"):
        tone(tmp_path / name / "a.wav", 1.0)
    first = ingest(tmp_path).table["recording_id"].to_pylist()
    assert len(set(first)) == 3
    assert {name.split("-")[0] for name in first} == {first[0]}


def test_a_new_file_leaves_the_partitions_of_the_old_ones_alone(tmp_path: Path):
    for number in range(4):
        tone(tmp_path / f"{number}.wav", 31.0, 200.0 + number)
    before = ingest(tmp_path).partitions
    tone(tmp_path / "9.wav", 5.0)
    after = ingest(tmp_path).partitions
    assert len(before) == 2
    assert len(after) == 3
    assert before.keys() < after.keys()


def paths(corpus: Corpus) -> dict[str, list[str]]:
    return {name: table["path"].to_pylist() for name, table in corpus.partitions.items()}


def test_a_corpus_that_grew_keeps_its_partitions_wherever_the_new_files_sort(tmp_path: Path):
    for number in range(4):
        tone(tmp_path / f"b{number}.wav", 31.0, 200.0 + number)
    first = ingest(tmp_path)
    tone(tmp_path / "a.wav", 31.0, 300.0)
    tone(tmp_path / "b1 and a half.wav", 31.0, 301.0)
    (tmp_path / "a copy of b2.wav").write_bytes((tmp_path / "b2.wav").read_bytes())
    grown = ingest(tmp_path, first)
    assert list(paths(grown).values()) == [
        *paths(first).values(),
        ["a.wav", "b1 and a half.wav"],
    ]
    assert list(grown.partitions)[:2] == list(first.partitions)
    (copy,) = (row for row in rows(grown.table) if row["reason"] == "duplicate")
    assert (copy["path"], copy["duplicate_of"]) == ("a copy of b2.wav", "b2.wav")
    # Once more it is the same, and in a new OUT it is in path order.
    assert paths(ingest(tmp_path, grown)) == paths(grown)
    assert next(iter(paths(ingest(tmp_path)).values())) == ["a copy of b2.wav", "a.wav"]


def test_a_partition_that_lost_a_recording_is_made_anew_behind_the_others(tmp_path: Path):
    for number in range(6):
        tone(tmp_path / f"{number}.wav", 31.0, 200.0 + number)
    first = ingest(tmp_path)
    (tmp_path / "2.wav").unlink()
    assert list(paths(ingest(tmp_path, first)).values()) == [
        ["0.wav", "1.wav"],
        ["4.wav", "5.wav"],
        ["3.wav"],
    ]


def test_a_file_that_moved_stays_in_its_partition(tmp_path: Path):
    for number in range(4):
        tone(tmp_path / f"{number}.wav", 31.0, 200.0 + number)
    first = ingest(tmp_path)
    (tmp_path / "0.wav").rename(tmp_path / "9.wav")
    moved = list(paths(ingest(tmp_path, first)).values())
    assert moved == [["9.wav", "1.wav"], ["2.wav", "3.wav"]]


def test_a_partition_is_stored_as_the_same_bytes_whatever_lies_beside_it(tmp_path: Path):
    for number in range(4):
        tone(tmp_path / f"{number}.wav", 31.0, 200.0 + number)
    corpus = ingest(tmp_path)
    placed = [path for table in corpus.partitions.values() for path in table["path"].to_pylist()]
    assert placed == ["0.wav", "1.wav", "2.wav", "3.wav"]
    for table in corpus.partitions.values():
        alone = pa.Table.from_pylist(table.to_pylist(), RECORDINGS)
        assert parquet_bytes(table) == parquet_bytes(alone)


@pytest.mark.parametrize("fault", ["refused", "reset"])
def test_a_file_that_storage_does_not_give_is_no_artifact_and_is_read_when_it_does(
    tmp_path: Path, fault: str
):
    for name in ("a", "b"):
        tone(tmp_path / f"{name}.wav", 2.0, 200.0 + ord(name))
    mark = tmp_path / f"b.wav.{fault}"
    mark.touch()
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"path": "a.wav"}\n{"path": "b.wav"}\n')
    files = find(f"moody://{manifest}")
    listing = pa.concat_tables(chunks(files).values())  # names decide how many there are
    stage = ProbeStage("probed", ProbeConfig(), ["listing"])

    def probed(table: pa.Table) -> pa.Table:
        return stage.process("c", {"listing": Artifact(table)}, NoAttempts()).table

    with pytest.raises(NotReadError) as raised:
        probed(listing)
    assert list(raised.value.why) == [f"moody://{tmp_path}/b.wav"]
    first, _ = (table for table in one_by_one(listing).values())
    corpus = arrange(files, probed(first), raised.value.why, CONFIG)
    assert corpus.table["state"].to_pylist() == ["recording", "not_read"]
    mark.unlink()
    corpus = arrange(files, probed(listing), {}, CONFIG)
    assert corpus.table["state"].to_pylist() == ["recording", "recording"]


@pytest.mark.parametrize("fault", ["refused", "reset"])
def test_a_recording_that_storage_stops_giving_makes_no_partition(tmp_path: Path, fault: str):
    tone(tmp_path / "a.wav", 2.0)
    (tmp_path / "m.jsonl").write_text('{"path": "a.wav"}\n')
    (table,) = ingest(f"moody://{tmp_path}/m.jsonl").partitions.values()
    (tmp_path / f"a.wav.{fault}").touch()
    stage = NormalizeStage("normalized", NormalizeConfig(), ["recordings"])
    with pytest.raises(NotReadError, match=r"a\.wav"):
        stage.process("p", {"recordings": Artifact(table)}, NoAttempts())


def test_segments_and_channels_of_a_file_are_recordings_of_their_own(tmp_path: Path):
    tone(tmp_path / "a.wav", 10.0)
    said = [
        {"path": "a.wav", "offset": 0, "duration": 4},
        {"path": "a.wav", "offset": 4, "duration": 6.01},  # rounded beyond the end
        {"path": "a.wav", "offset": 4, "duration": 2, "channel": 1},
        {"path": "./a.wav", "start": 0, "end": 4.0},
        {"path": "a.wav", "duration": 10.02},
        {"path": "a.wav", "offset": 11},
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, said)))
    corpus = ingest(tmp_path / "m.jsonl")
    sha = corpus.table["sha256"][0].as_py()[:16]
    found = {
        (row["recording_id"].removeprefix(sha), row["reason"] or row["state"], row["duration_s"])
        for row in rows(corpus.table)
    }
    assert found == {
        ("-000000000-000004000", "recording", 4.0),
        ("-000000000-000004000-2", "duplicate", 4.0),
        ("-000004000-000010000", "recording", 6.0),
        ("-000004000-000006000-c1", "recording", 2.0),
        ("", "recording", 10.0),
        ("-000011000-000010000", "too_short", 0.0),
    }
    (table,) = corpus.partitions.values()
    stage = NormalizeStage("normalized", NormalizeConfig(), ["recordings"])
    made = stage.process("p", {"recordings": Artifact(table)}, NoAttempts())
    assert sorted(made.table["duration_s"].to_pylist()) == [4.0, 6.0, 10.0]
    assert [(r.reason, r.detail) for r in made.rejects] == [
        ("empty", "the file has 1 channels, and none with the number 1")
    ]


def test_a_new_file_changes_its_own_chunk_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gpa.curation.ingest.stage.CHUNK_FILES", 20)
    files = [RawFile(f"{n:04d}.wav", f"/c/{n:04d}.wav", 1, "s") for n in range(500)]
    before = chunks(files)
    after = chunks([*files[:100], RawFile("x", "/c/0099b.wav", 1, "s"), *files[100:]])
    assert sum(table.num_rows for table in before.values()) == 500
    assert len(before) > 10
    assert len(before.keys() - after.keys()) == 1
    corrected = [replace(files[0], language="en", given='{"text": "x"}'), *files[1:]]
    assert chunks(corrected).keys() == before.keys()
