"""WebDataset shards of what is kept, and their manifest.

A shard is `KEY.flac` beside `KEY.json`, adjacent; its part of `curated/manifest.parquet` comes
after it, so that where that is, the shard is whole. Which rows go to which shard is written down
before (`curated/shards.parquet`): a corpus that grew gets new shards behind those that are there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gpa.curation.package.stage import SCHEMA_VERSION, SELECTED, audio_name
from gpa.runtime.artifacts import (
    ArtifactStore,
    DamageError,
    TarFiles,
    parquet_bytes,
    read_parquet,
    tar_bytes,
)
from gpa.runtime.execution import Engine, Pool
from gpa.runtime.stage import rows
from gpa.runtime.storage import Store

CURATED = "curated"
MANIFEST = f"{CURATED}/manifest.parquet"  # a folder: one file a shard
PLAN = f"{CURATED}/shards.parquet"

MANIFEST_SCHEMA = pa.schema(
    [*(field for field in SELECTED if field.name != "json"), pa.field("shard", pa.string())]
)

# What of SELECTED a shard's files are made by.
READ = ("utterance_id", "kept_version", "json")
# What of SELECTED is in which shard: rows `first` to before `last` of a partition.
PLAN_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("partition", pa.string(), nullable=False),
        pa.field("first", pa.int64(), nullable=False),
        pa.field("last", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Shard:
    """A shard: its name and the rows of SELECTED in it, as (partition, first, last)."""

    name: str
    parts: tuple[tuple[str, int, int], ...]

    @property
    def tar(self) -> str:
        """Where its utterances lie."""
        return f"{CURATED}/{self.name}.tar"

    @property
    def index(self) -> str:
        """Its part of the manifest, written after the tar: where it is, the shard is whole."""
        return index_name(self.name)


def index_name(shard: str) -> str:
    """The part of the manifest that is about the shard of that name."""
    return f"{MANIFEST}/{shard}.parquet"


def plan_shards(
    sizes: Iterable[tuple[str, Sequence[int | None]]], shard_bytes: float, number: int = 0
) -> list[Shard]:
    """Cut utterances, in the order of partitions and rows, into shards of about one size.

    `sizes` holds, for each partition, the bytes of its utterances, None for one that has a shard
    already. Each other utterance is in exactly one shard; a shard ends with the utterance that
    fills it. Shards are numbered from `number` on.
    """
    shards: list[Shard] = []
    parts: list[tuple[str, int, int]] = []
    filled = 0.0

    def close() -> None:
        nonlocal parts, filled
        if parts:
            shards.append(Shard(f"shard-{number + len(shards):06d}", tuple(parts)))
        parts, filled = [], 0.0

    for partition, row_bytes in sizes:
        first = 0
        for index, size in enumerate([*row_bytes, None]):
            if size is None:
                if first < index:
                    parts.append((partition, first, index))
                first = index + 1
                continue
            filled += size
            if filled >= shard_bytes:
                parts.append((partition, first, index + 1))
                first = index + 1
                close()
    close()
    return shards


def read_plan(store: Store) -> tuple[list[Shard], str]:
    """The shards of an OUT, written or to be written, and the fingerprint of what is in them.

    Raises FileNotFoundError where none were planned.
    """
    table = read_parquet(store.read(PLAN))
    parts: dict[str, list[tuple[str, int, int]]] = {}
    columns = (table[name].to_pylist() for name in PLAN_SCHEMA.names)
    for shard, partition, first, last in zip(*columns, strict=True):
        parts.setdefault(shard, []).append((partition, first, last))
    shards = [Shard(name, tuple(each)) for name, each in parts.items()]
    return shards, table.schema.metadata[b"gpa.fingerprint"].decode()


@dataclass(frozen=True)
class Around:
    """Partitions of a corpus whose shards were written before, and those that come in later waves."""

    earlier: Collection[str] = ()
    later: Collection[str] = ()


def extended_plan(
    artifacts: ArtifactStore,
    fingerprint: str,
    partitions: Sequence[str],
    around: Around,
    shard_bytes: float,
) -> list[Shard]:
    """The shards of these partitions: those that were planned before, and new ones behind them.

    A corpus that grew so keeps its shards. One goes where another config selects other
    utterances, or a partition of it is in the corpus no more; what else was in it is planned anew.
    One that holds anything of a later wave is left to that.
    """
    before, selected = _plan_before(artifacts.store)
    there, later = {*around.earlier, *partitions}, set(around.later)

    def stays(shard: Shard) -> bool:
        names = {part[0] for part in shard.parts}
        return not names.isdisjoint(later) or names <= there

    kept = [shard for shard in before if stays(shard)] if selected == fingerprint else []
    placed: dict[str, list[tuple[int, int]]] = {}
    for shard in kept:
        for partition, first, last in shard.parts:
            placed.setdefault(partition, []).append((first, last))
    names = {shard.name for shard in kept}
    torn = {part[0] for shard in before if shard.name not in names for part in shard.parts}
    open_ = [name for name in around.earlier if name in torn]
    open_ += [name for name in partitions if name in torn or name not in placed]

    def left() -> Iterator[tuple[str, list[int | None]]]:
        tables = artifacts.tables("packaged", fingerprint, open_, ["bytes"])
        for partition, table in zip(open_, tables, strict=True):
            row_bytes = table["bytes"].to_pylist()
            for first, last in placed.get(partition, ()):
                row_bytes[first:last] = [None] * (last - first)
            yield partition, row_bytes

    number = 1 + max((int(name.removeprefix("shard-")) for name in names), default=-1)
    return [*kept, *plan_shards(left(), shard_bytes, number)]


def waiting_for(
    artifacts: ArtifactStore,
    fingerprint: str,
    partitions: Sequence[str],
    around: Around,
    shard_bytes: float,
) -> set[str]:
    """Partitions of which anything is in a shard to be written; nothing is changed."""
    planned = extended_plan(artifacts, fingerprint, partitions, around, shard_bytes)
    written = set(written_shards(artifacts.store, fingerprint))
    return {part[0] for shard in planned if shard not in written for part in shard.parts}


def written_shards(store: Store, fingerprint: str | None = None) -> list[Shard]:
    """Shards that are whole, of an OUT as it is; none where it holds others than asked for."""
    shards, selected = _plan_before(store)
    if fingerprint not in (None, selected):
        return []
    there = {name.removesuffix(".parquet") for name in store.names(MANIFEST)} & _tars(store)
    return [shard for shard in shards if shard.name in there]


def missing_shards(store: Store, fingerprint: str, shards: Sequence[Shard]) -> list[Shard]:
    """Make these shards the plan of an OUT; returns those still to write.

    What lies there of another plan is cleared away first, so that a part of the manifest always
    speaks of the bytes of its shard.
    """
    before, selected = _plan_before(store)
    if not before:
        store.remove(MANIFEST)
    same = set(before) & set(shards) if selected == fingerprint else set()
    names = {shard.name for shard in same}
    indexes, tars = store.names(MANIFEST), _tars(store)
    for index in indexes:
        if index.removesuffix(".parquet") not in names:
            store.remove(f"{MANIFEST}/{index}")
    for tar in tars - names:
        store.remove(f"{CURATED}/{tar}.tar")
    if selected != fingerprint or before != list(shards):
        store.write(PLAN, parquet_bytes(_plan_table(fingerprint, shards)))
    written = names & tars & {index.removesuffix(".parquet") for index in indexes}
    return [shard for shard in shards if shard.name not in written]


def _plan_before(store: Store) -> tuple[list[Shard], str]:
    """As `read_plan`; no shards and no fingerprint where there is no plan that can be read."""
    try:
        return read_plan(store)
    except (OSError, pa.ArrowException):
        return [], ""


def _plan_table(fingerprint: str, shards: Sequence[Shard]) -> pa.Table:
    parts = [(shard.name, *part) for shard in shards for part in shard.parts]
    table = pa.Table.from_pylist(
        [dict(zip(PLAN_SCHEMA.names, part, strict=True)) for part in parts], PLAN_SCHEMA
    )
    return table.replace_schema_metadata({"gpa.fingerprint": fingerprint})


def _tars(store: Store) -> set[str]:
    """Names of the shards that lie there."""
    return {name.removesuffix(".tar") for name in store.names(CURATED) if name.endswith(".tar")}


def write(
    engine: Engine,
    artifacts: ArtifactStore,
    fingerprints: Mapping[str, str],
    partitions: Sequence[str],
    around: Around,
    shard_bytes: float,
    pool: Pool,
) -> None:
    """Write the shards of these partitions that are missing, each with its part of the manifest."""
    store, selected = artifacts.store, fingerprints["packaged"]
    planned = extended_plan(artifacts, selected, partitions, around, shard_bytes)
    missing = missing_shards(store, selected, planned)
    names = [shard.name for shard in missing]
    items = pa.table({"name": names, "parts": [json.dumps(shard.parts) for shard in missing]})
    arguments = (store.url, selected, fingerprints["utterances"])
    for _ in engine.map(ShardWriter, arguments, items, pool):
        pass


class ShardWriter:
    """The actor that writes shards; see `gpa.runtime.execution.Engine.map`."""

    def __init__(self, url: str, selected: str, utterances: str):
        self._artifacts = ArtifactStore(Store(url))
        self._selected = selected  # fingerprints of `packaged` and `utterances`
        self._utterances = utterances

    def __call__(self, block: dict[str, Any]) -> dict[str, list[Any]]:
        shards = [
            Shard(str(name), tuple(map(tuple, json.loads(parts))))
            for name, parts in zip(block["name"], block["parts"], strict=True)
        ]
        for shard in shards:
            self._write(shard)
        return {"name": [shard.name for shard in shards]}

    def _write(self, shard: Shard) -> None:
        files: dict[str, bytes] = {}
        selected = []
        for partition, first, last in shard.parts:
            table = self._artifacts.table("packaged", self._selected, partition)
            selected.append(table.replace_schema_metadata(None).slice(first, last - first))
            audio = self._artifacts.files("utterances", self._utterances, partition)
            for row in rows(selected[-1].select(READ)):
                key = row["utterance_id"]
                files[f"{key}.flac"] = audio[audio_name(key, row)]
                files[f"{key}.json"] = row["json"].encode()
        index = pa.concat_tables(selected).combine_chunks().drop_columns(["json"])
        index = index.append_column("shard", pa.repeat(shard.name, len(index)))
        write_shard(self._artifacts.store, shard, files, index.cast(MANIFEST_SCHEMA))


def write_shard(store: Store, shard: Shard, files: Mapping[str, bytes], index: pa.Table) -> None:
    """Put a shard's files in place, and then its part of the manifest, MANIFEST_SCHEMA."""
    data = tar_bytes(files)
    about = {
        "gpa.shard_sha256": hashlib.sha256(data).hexdigest(),
        "gpa.schema_version": str(SCHEMA_VERSION),
    }
    store.write(shard.tar, data)
    store.write(shard.index, parquet_bytes(index.replace_schema_metadata(about)))


def read_index(
    store: Store, shard: str, columns: Sequence[str] | None = None
) -> tuple[pa.Table, str]:
    """A shard's part of the manifest, and the SHA-256 of its tar; raises FileNotFoundError."""
    table = read_parquet(store.read(index_name(shard)), columns)
    return table.replace_schema_metadata(None), table.schema.metadata[b"gpa.shard_sha256"].decode()


def read_manifest(store: Store) -> tuple[pa.Table, dict[str, str]]:
    """The whole manifest, in memory, and the checksum of each shard.

    Raises FileNotFoundError where a shard is still to be written, or none was planned.
    """
    tables, checksums = [MANIFEST_SCHEMA.empty_table()], {}
    shards, _ = read_plan(store)
    for shard in store.ahead(shards, lambda shard: [shard.index]):
        table, checksums[shard.name] = read_index(store, shard.name)
        tables.append(table)
    return pa.concat_tables(tables), checksums


def stray_files(store: Store, shards: Sequence[Shard]) -> list[str]:
    """What lies among the shards and is none of them, in words."""
    names = {shard.name for shard in shards}
    strays = [f"{CURATED}/{name}.tar" for name in _tars(store) - names]
    indexes = {name.removesuffix(".parquet") for name in store.names(MANIFEST)}
    strays += [f"{MANIFEST}/{name}.parquet" for name in indexes - names]
    return [f"{stray} is in no plan" for stray in sorted(strays)]


def shard_problem(store: Store, shard: Shard) -> str | None:
    """What is wrong with a shard, in words: its bytes, its members, its part of the manifest."""
    try:
        index, checksum = read_index(store, shard.name, ["utterance_id"])
    except FileNotFoundError:
        return f"{shard.index} is gone"
    except (OSError, pa.ArrowException) as error:
        return f"{shard.index} can't be read ({type(error).__name__})"
    try:
        members = list(TarFiles(store, shard.tar, checksum))
    except DamageError as damage:
        return str(damage)
    keys = index["utterance_id"].to_pylist()
    if members != [f"{key}.{kind}" for key in keys for kind in ("flac", "json")]:
        return f"{shard.tar} holds other utterances than the manifest says"
    if len(keys) != sum(last - first for _, first, last in shard.parts):
        return f"{shard.index} has other utterances than were planned"
    return None
