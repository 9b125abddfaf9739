"""The close of a run: group by group it comes to what all at once comes to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import datasets
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpa.curation import close as closing
from gpa.curation.close import REJECTED_TABLE, close, groups, recount
from gpa.curation.report.books import Books, corpus_rejects, keep
from gpa.curation.report.outputs import Run, open_run
from gpa.curation.shards import Shard, index_name, read_manifest
from gpa.runtime.artifacts import parquet_bytes, read_parquet
from gpa.runtime.execution import Pool
from tests.curation.report.synthetic import write_out


class Here:
    """An engine without Ray: the worker is in this process, and ends with the last first."""

    def map(self, worker, arguments, items: pa.Table, pool) -> Iterator[dict]:
        called = worker(*arguments)
        for row in reversed(items.to_pylist()):
            (closed,) = called({"work": [row["work"]]})["closed"]
            yield {"closed": closed}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Books]:
    """A run of three partitions, each a group of its own, closed; and its books."""
    folder = tmp_path_factory.mktemp("run")
    write_out(folder, audio=False)
    run = open_run(str(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closing, "GROUP", 1)
        yield run, close(run, Here(), Pool())


def by_place(books: Books) -> dict[str, object]:
    rounded = {key: round(s, 6) for key, s in books.dropped_by_step_s.items()}
    return {
        "seconds": (round(books.in_s, 6), round(books.kept_s, 6), rounded),
        "utterances": (books.kept_utterances, books.dropped_utterances),
        "recordings": books.recordings,
        "differences": books.differences,
    }


def test_groups_come_to_what_all_at_once_comes_to(whole: tuple[Run, Books]):
    run, books = whole
    rejected = pa.concat_tables(
        [corpus_rejects(run.corpus), *(t for p in run.partitions for t in run.dropped(p))]
    )
    manifest, _ = read_manifest(run.artifacts.store)
    at_once = keep(run.artifacts, run.corpus, run.fingerprints, run.partitions, manifest, rejected)
    assert by_place(books) == by_place(at_once)
    assert books.differences == []
    assert books.kept_utterances > 0
    assert by_place(recount(run)) == by_place(books)


def test_rejects_of_many_files_are_one_table_to_who_reads_it(whole: tuple[Run, Books]):
    run, books = whole
    folder = Path(run.artifacts.store.path(REJECTED_TABLE))
    assert sorted(path.name for path in folder.iterdir()) == [
        "ingest.parquet", "part-000000.parquet", "part-000001.parquet", "part-000002.parquet",
    ]  # fmt: skip
    rejected = pq.read_table(folder)
    assert rejected["reason"][0].as_py() == "duplicate"
    files = {"data_files": f"{folder}/*.parquet", "split": "train"}
    (first,) = datasets.load_dataset("parquet", **files, streaming=True).take(1)
    assert first == rejected.slice(0, 1).to_pylist()[0]
    ((rows,),) = duckdb.sql(f"select count(*) from '{folder}/*.parquet'").fetchall()
    assert rows == len(rejected)
    assert sum(rejected["seconds"].to_pylist()) == pytest.approx(sum(books.dropped_s.values()))


def test_a_run_is_closed_to_the_same_bytes_again(whole: tuple[Run, Books]):
    run, _ = whole
    folder = Path(run.artifacts.store.path(REJECTED_TABLE))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "part-000009.parquet").write_bytes(b"of a corpus that was larger")
    close(run, Here(), Pool())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("change", ["gone", "twice"])
def test_what_a_shard_has_not_or_has_twice_is_named(whole: tuple[Run, Books], change: str):
    run, _ = whole
    store = run.artifacts.store
    name = index_name("shard-000000")
    data = store.read(name)
    index = read_parquet(data)
    key = index["utterance_id"][0].as_py()
    index = index.slice(1) if change == "gone" else pa.concat_tables([index, index.slice(0, 1)])
    store.write(name, parquet_bytes(index))
    try:
        times = 0 if change == "gone" else 2
        found = recount(run).differences
        assert f"utterance {key} is in curated or rejected {times} times, not once" in found
    finally:
        store.write(name, data)


def test_a_recording_in_no_partition_is_missed(whole: tuple[Run, Books]):
    run, _ = whole
    run = Run(run.artifacts, {**run.content, "partitions": run.partitions[1:]}, partial=False)
    assert "5 recordings are listed, partitions hold 3" in recount(run).differences


def test_a_group_knows_the_shards_that_hold_any_of_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(closing, "GROUP", 2)
    shards = [
        Shard("shard-000000", (("a", 0, 3), ("b", 0, 1))),
        Shard("shard-000001", (("b", 1, 2), ("c", 0, 2))),
    ]
    first, second = groups(["a", "b", "c", "nothing-kept"], shards)
    assert (first.partitions, first.shards) == (("a", "b"), ("shard-000000", "shard-000001"))
    assert (second.partitions, second.shards) == (("c", "nothing-kept"), ("shard-000001",))
