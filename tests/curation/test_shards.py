"""Shards: cut by size, every utterance in one, and a mark that never lies about the bytes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path

import datasets
import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpa.curation.shards import (
    CURATED,
    MANIFEST,
    MANIFEST_SCHEMA,
    PLAN,
    Plan,
    Shard,
    plan_shards,
    read_manifest,
    read_plan,
    shard_problem,
    stray_files,
    write_shard,
    written_shards,
)
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.storage import Store
from tests.curation.plans import missing_shards
from tests.tables import artifact, table

SIZES = st.lists(
    st.tuples(st.uuids().map(str), st.lists(st.integers(1, 500), max_size=20)),
    max_size=8,
    unique_by=lambda item: item[0],
)


@given(SIZES, st.integers(1, 2000))
def test_every_utterance_is_in_exactly_one_shard_in_order(sizes, shard_bytes):
    shards = plan_shards(sizes, shard_bytes)
    planned = [
        (partition, row)
        for shard in shards
        for partition, first, last in shard.parts
        for row in range(first, last)
    ]
    assert planned == [(name, row) for name, row_bytes in sizes for row in range(len(row_bytes))]


@given(SIZES, st.integers(1, 2000))
def test_a_shard_ends_with_the_utterance_that_fills_it(sizes, shard_bytes):
    bytes_of = dict(sizes)
    shards = plan_shards(sizes, shard_bytes)
    for number, shard in enumerate(shards):
        held = [size for name, first, last in shard.parts for size in bytes_of[name][first:last]]
        assert sum(held[:-1]) < shard_bytes
        assert number == len(shards) - 1 or sum(held) >= shard_bytes


ONE = Shard("shard-000000", (("p", 0, 2),))
TWO = Shard("shard-000001", (("p", 2, 3),))


def write(store: Store, shard: Shard) -> None:
    store.write(shard.tar, b"tar")
    store.write(shard.index, b"index")


def test_a_written_shard_is_not_written_again(tmp_path: Path):
    store = Store(str(tmp_path))
    assert missing_shards(store, "fp", [ONE, TWO]) == [ONE, TWO]
    write(store, ONE)
    assert missing_shards(store, "fp", [ONE, TWO]) == [TWO]


def test_another_plan_and_back_again_writes_the_shard_each_time(tmp_path: Path):
    store = Store(str(tmp_path))
    other = Shard("shard-000000", (("p", 0, 1),))
    for plan in (ONE, other, ONE):
        assert missing_shards(store, "fp", [plan]) == [plan]
        write(store, plan)
    assert missing_shards(store, "fp", [ONE]) == []


def test_another_selection_writes_every_shard(tmp_path: Path):
    store = Store(str(tmp_path))
    missing_shards(store, "fp", [ONE])
    write(store, ONE)
    assert missing_shards(store, "other", [ONE]) == [ONE]
    assert store.names("curated") == ["shards.parquet"]


def test_a_shorter_plan_clears_surplus_shards_and_their_part_of_the_manifest(tmp_path: Path):
    store = Store(str(tmp_path))
    missing_shards(store, "fp", [ONE, TWO])
    for shard in (ONE, TWO):
        write(store, shard)
    assert missing_shards(store, "fp", [ONE]) == []
    assert store.names("curated") == ["shard-000000.tar", "shards.parquet"]
    assert store.names("curated/manifest.parquet") == ["shard-000000.parquet"]


def test_a_shard_whose_tar_is_gone_is_missing(tmp_path: Path):
    store = Store(str(tmp_path))
    missing_shards(store, "fp", [ONE])
    write(store, ONE)
    store.remove(ONE.tar)
    assert missing_shards(store, "fp", [ONE]) == [ONE]


def test_shards_of_the_layout_before_are_written_anew(tmp_path: Path):
    store = Store(str(tmp_path))
    store.write("curated/manifest.parquet", b"a file, once")
    store.write(ONE.tar, b"tar")
    assert missing_shards(store, "fp", [ONE]) == [ONE]
    assert store.names("curated") == ["shards.parquet"]


def selected(artifacts: ArtifactStore, sizes: Mapping[str, Sequence[int]]) -> None:
    """Partitions whose utterances have those bytes."""
    for partition, row_bytes in sizes.items():
        if not artifacts.exists("packaged", "fp", partition):
            kept = artifact("packaged", *({"bytes": size} for size in row_bytes))
            artifacts.write("packaged", "fp", partition, kept)


def planned(
    artifacts: ArtifactStore, waves: Sequence[Sequence[str]], shard_bytes: float
) -> list[Shard]:
    """The plan of these waves, each planned and written in its turn."""
    plan = Plan(artifacts, "fp", chain.from_iterable(waves), shard_bytes)
    for wave in waves:
        for shard in plan.extend(wave, wave):
            write(artifacts.store, shard)
    shards, _ = read_plan(artifacts.store)
    assert shards == list(plan.shards.values())
    assert written_shards(artifacts.store) == shards
    return shards


def places(shards: Sequence[Shard]) -> list[tuple[str, int]]:
    """Every row of a plan, as (partition, row)."""
    return [
        (partition, row)
        for shard in shards
        for partition, first, last in shard.parts
        for row in range(first, last)
    ]


@settings(max_examples=40, deadline=None)
@given(SIZES.filter(bool), st.integers(1, 2000), st.data())
def test_a_corpus_that_grew_gets_new_shards_behind_those_it_has(sizes, shard_bytes, data):
    mixed = dict(data.draw(st.permutations(sizes)))
    before = [name for name, _ in sizes if data.draw(st.booleans())]
    with tempfile.TemporaryDirectory() as folder:
        artifacts = ArtifactStore(Store(folder))
        selected(artifacts, mixed)
        first = planned(artifacts, [before], shard_bytes)
        assert first == plan_shards([(name, mixed[name]) for name in before], shard_bytes)
        # The new ones sort anywhere between the old.
        grown = planned(artifacts, [list(mixed)], shard_bytes)
        assert grown[: len(first)] == first
        assert [shard.name for shard in grown] == [f"shard-{n:06d}" for n in range(len(grown))]
        assert sorted(places(grown)) == sorted(
            (name, row) for name, row_bytes in sizes for row in range(len(row_bytes))
        )
        # A run that was killed after it had planned plans the same.
        assert planned(artifacts, [list(mixed)], shard_bytes) == grown


@settings(max_examples=40, deadline=None)
@given(SIZES.filter(bool), st.integers(1, 2000), st.data())
def test_what_left_the_corpus_leaves_no_trace_and_the_rest_stays(sizes, shard_bytes, data):
    names = [name for name, _ in sizes]
    stay = [name for name in names if data.draw(st.booleans())]
    with tempfile.TemporaryDirectory() as folder:
        artifacts = ArtifactStore(Store(folder))
        selected(artifacts, dict(sizes))
        first = planned(artifacts, [names], shard_bytes)
        fewer = planned(artifacts, [stay], shard_bytes)
        whole = [shard for shard in first if all(part[0] in stay for part in shard.parts)]
        assert fewer[: len(whole)] == whole
        assert sorted(places(fewer)) == sorted(
            (name, row)
            for name, row_bytes in sizes
            if name in stay
            for row in range(len(row_bytes))
        )


@settings(max_examples=40, deadline=None)
@given(SIZES.filter(bool), st.integers(1, 2000), st.data())
def test_waves_have_shards_of_their_own_and_lose_nothing_of_what_stays(sizes, shard_bytes, data):
    names = [name for name, _ in sizes]

    def cut(names: Sequence[str]) -> list[list[str]]:
        bounds = sorted({0, len(names), *data.draw(st.lists(st.integers(0, len(names))))})
        return [list(names[a:b]) for a, b in pairwise(bounds)]

    with tempfile.TemporaryDirectory() as folder:
        artifacts = ArtifactStore(Store(folder))
        selected(artifacts, dict(sizes))
        waves = cut(names)
        first = planned(artifacts, waves, shard_bytes)
        assert places(first) == [(name, row) for name, held in sizes for row in range(len(held))]
        for shard in first:
            assert any({part[0] for part in shard.parts} <= set(wave) for wave in waves)
        # Killed between waves and started again, or the same once more: nothing is planned anew.
        assert planned(artifacts, waves, shard_bytes) == first
        # Some partitions leave the corpus, and the waves of the rest are others.
        stay = [name for name in names if data.draw(st.booleans())]
        if stay:
            fewer = planned(artifacts, cut(stay), shard_bytes)
            whole = [shard for shard in first if all(part[0] in stay for part in shard.parts)]
            assert fewer[: len(whole)] == whole
            assert sorted(places(fewer)) == sorted(
                (name, row) for name, held in sizes if name in stay for row in range(len(held))
            )


class Watched(Store):
    """Counts how often a plan is read, and a folder listed."""

    asked = 0

    def read(self, name: str) -> bytes:
        self.asked += name == PLAN
        return super().read(name)

    def names(self, folder: str) -> list[str]:
        self.asked += folder in (CURATED, MANIFEST)
        return super().names(folder)


def test_what_lies_there_is_asked_for_once_however_many_waves_there_are(tmp_path: Path):
    store = Watched(str(tmp_path))
    artifacts = ArtifactStore(store)
    names = [f"p{number}" for number in range(12)]
    selected(artifacts, {name: [500] for name in names})
    asked = []
    for waves in ([names], [[name] for name in names]):
        store.remove(CURATED)
        store.asked = 0
        plan = Plan(artifacts, "fp", names, 1000)
        for wave in waves:
            plan.extend(wave, wave)
        asked.append(store.asked)
    assert asked[0] == asked[1] > 0


@pytest.fixture
def two_shards(tmp_path: Path) -> Store:
    """An OUT of two shards, of two utterances and one."""
    store = Store(str(tmp_path))
    for shard in missing_shards(store, "fp", [ONE, TWO]):
        keys = [
            f"{shard.name}-{row}" for _, first, last in shard.parts for row in range(first, last)
        ]
        files = {f"{key}.{kind}": b"bytes" for key in keys for kind in ("flac", "json")}
        listed = ({"utterance_id": key, "shard": shard.name} for key in keys)
        write_shard(store, shard, files, table(MANIFEST_SCHEMA, *listed))
    return store


def test_the_manifest_is_one_table_to_who_reads_it(two_shards: Store):
    manifest, checksums = read_manifest(two_shards)
    assert list(checksums) == ["shard-000000", "shard-000001"]
    assert manifest["shard"].to_pylist() == ["shard-000000", "shard-000000", "shard-000001"]
    folder = two_shards.path(MANIFEST)
    assert pq.read_table(folder)["utterance_id"].equals(manifest["utterance_id"])
    files = {"data_files": f"{folder}/*.parquet", "split": "train", "streaming": True}
    found = datasets.load_dataset("parquet", **files)
    assert [row["utterance_id"] for row in found] == manifest["utterance_id"].to_pylist()
    by_duckdb = duckdb.sql(f"select utterance_id from '{folder}/*.parquet'").fetchall()
    assert sorted(key for (key,) in by_duckdb) == sorted(manifest["utterance_id"].to_pylist())
    assert [shard_problem(two_shards, shard) for shard in (ONE, TWO)] == [None, None]


def test_a_manifest_with_a_shard_still_to_write_is_none(two_shards: Store):
    two_shards.remove(TWO.index)
    with pytest.raises(FileNotFoundError):
        read_manifest(two_shards)
    assert shard_problem(two_shards, TWO) == f"{TWO.index} is gone"


def test_a_shard_that_is_not_what_was_planned_is_named(two_shards: Store):
    two_shards.write(ONE.tar, b"other")
    assert shard_problem(two_shards, ONE) == f"{ONE.tar} has other bytes than were written"
    longer = Shard(TWO.name, (("p", 2, 4),))
    assert "other utterances than were planned" in (shard_problem(two_shards, longer) or "")


def test_what_no_plan_knows_is_named(two_shards: Store):
    assert stray_files(two_shards, [ONE, TWO]) == []
    assert stray_files(two_shards, [ONE]) == [
        f"{TWO.index} is in no plan",
        f"{TWO.tar} is in no plan",
    ]
