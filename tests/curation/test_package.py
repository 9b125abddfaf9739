"""Shards: cut by size, every utterance in one, and a mark that never lies about the bytes."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.package import Shard, index_name, missing_shards, plan_shards
from gpa.runtime.storage import Store

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


def write(store: Store, fingerprint: str, shard: Shard) -> None:
    store.write(f"curated/{shard.name}.tar", b"tar")
    store.write(index_name(fingerprint, shard), b"index")


def test_a_written_shard_is_not_written_again(tmp_path: Path):
    store = Store(str(tmp_path))
    shards = [Shard("shard-000000", (("p", 0, 2),)), Shard("shard-000001", (("p", 2, 3),))]
    write(store, "fp", shards[0])
    assert missing_shards(store, "fp", shards) == [shards[1]]


def test_another_plan_and_back_again_writes_the_shard_each_time(tmp_path: Path):
    store = Store(str(tmp_path))
    one, two = Shard("shard-000000", (("p", 0, 2),)), Shard("shard-000000", (("p", 0, 1),))
    write(store, "fp", one)
    assert missing_shards(store, "fp", [two]) == [two]
    write(store, "fp", two)
    assert missing_shards(store, "fp", [one]) == [one]


def test_a_shorter_plan_clears_surplus_shards_and_the_manifest(tmp_path: Path):
    store = Store(str(tmp_path))
    shards = [Shard("shard-000000", (("p", 0, 2),)), Shard("shard-000001", (("p", 2, 3),))]
    for shard in shards:
        write(store, "fp", shard)
    store.write("curated/manifest.parquet", b"")
    assert missing_shards(store, "fp", shards[:1]) == []
    assert store.names("curated") == ["shard-000000.tar"]


def test_a_shard_whose_tar_is_gone_is_missing(tmp_path: Path):
    store = Store(str(tmp_path))
    shard = Shard("shard-000000", (("p", 0, 2),))
    write(store, "fp", shard)
    store.remove("curated/shard-000000.tar")
    assert missing_shards(store, "fp", [shard]) == [shard]
