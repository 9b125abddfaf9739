"""Ingest: every file gets a state, copies are found, and partitions are stable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.ingest.corpus import find
from gpa.curation.ingest.stage import (
    PROBED,
    IngestConfig,
    ProbeConfig,
    ProbeStage,
    arrange,
    chunks,
    grouped,
)
from gpa.curation.tables import RECORDINGS
from gpa.runtime.artifacts import parquet_bytes
from gpa.runtime.stage import Artifact, NoAttempts, rows

CONFIG = IngestConfig(partition_minutes=1.0)


def tone(path: Path, seconds: float, frequency_hz: float = 220.0) -> None:
    time_s = np.arange(int(16000 * seconds)) / 16000
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(2 * np.pi * frequency_hz * time_s), 16000)


def ingest(corpus: Path):
    stage = ProbeStage("probed", ProbeConfig(), ["listing"])
    files = find(str(corpus))
    probed = [
        stage.process(chunk, {"listing": Artifact(listing)}, NoAttempts()).table
        for chunk, listing in chunks(files).items()
    ]
    return arrange(files, pa.concat_tables([PROBED.empty_table(), *probed]), {}, CONFIG)


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


def test_a_partition_is_stored_as_the_same_bytes_whatever_lies_beside_it(tmp_path: Path):
    for number in range(4):
        tone(tmp_path / f"{number}.wav", 31.0, 200.0 + number)
    corpus = ingest(tmp_path)
    placed = [path for table in corpus.partitions.values() for path in table["path"].to_pylist()]
    assert placed == ["0.wav", "1.wav", "2.wav", "3.wav"]
    for table in corpus.partitions.values():
        alone = pa.Table.from_pylist(table.to_pylist(), RECORDINGS)
        assert parquet_bytes(table) == parquet_bytes(alone)


@given(st.lists(st.floats(0.1, 5000.0), max_size=60), st.floats(1.0, 2000.0))
def test_groups_keep_order_lose_nothing_and_hold_about_the_target(durations, target_s):
    recordings = [{"duration_s": duration} for duration in durations]
    groups = grouped(recordings, target_s)
    assert [recording for group in groups for recording in group] == recordings
    for group in groups[:-1]:
        assert sum(recording["duration_s"] for recording in group) >= target_s * (1 - 1e-9)
    for group in groups:
        assert sum(recording["duration_s"] for recording in group[:-1]) < target_s
