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
)
from gpa.runtime.execution import Engine, Pool
from gpa.runtime.stage import rows
from gpa.runtime.storage import Store
from gpa.runtime.tar import tar_bytes

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


class Plan:
    """Which rows of SELECTED go to which shard of an OUT, extended wave by wave.

    What was planned before and which shards lie there is read once, however many waves there are.
    `partitions` are all of the corpus, in the order of their waves.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        fingerprint: str,
        partitions: Iterable[str],
        shard_bytes: float,
    ):
        self._artifacts, self._fingerprint = artifacts, fingerprint
        self._shard_bytes = shard_bytes
        self._place = {name: place for place, name in enumerate(partitions)}
        before, selected = _plan_before(artifacts.store)
        if not before:
            artifacts.store.remove(MANIFEST)
        self._stale = selected != fingerprint
        self._made: set[str] = set()
        self._placed: dict[str, set[tuple[int, int]]] = {}
        # Whether a shard stays is known once its last partition is made, or is in no corpus.
        self._due: dict[str | None, list[Shard]] = {}
        self.shards: dict[str, Shard] = {}
        for shard in [] if self._stale else before:
            self._add(shard)
            known = [part[0] for part in shard.parts if part[0] in self._place]
            last = max(known, key=self._place.__getitem__, default=None)
            self._due.setdefault(last, []).append(shard)
        self._table = _plan_table(self.shards.values())
        lying = _lying(artifacts.store)
        self._written = set(_whole(before, *lying))
        self._strays = _strays(self.shards, *lying)

    def extend(self, wave: Collection[str], made: Sequence[str]) -> list[Shard]:
        """Plan the shards of a wave, of which these partitions were made; those still to write.

        A corpus that grew so keeps its shards. One goes where another config selects other
        utterances, or a partition of it is in the corpus no more; what else was in it is planned
        anew. One that holds anything of a later wave is left to that.
        """
        gone, new, unwritten = self._extension(wave, made)
        self.replace(gone, new)
        self._made.update(made)
        for last in (None, *wave):
            self._due.pop(last, None)
        return unwritten

    def waiting_for(self, wave: Collection[str], made: Sequence[str]) -> set[str]:
        """Partitions of which anything is in a shard to be written; nothing is changed."""
        *_, unwritten = self._extension(wave, made)
        return {part[0] for shard in unwritten for part in shard.parts}

    def replace(self, gone: Iterable[Shard], new: Sequence[Shard]) -> None:
        """Make it the plan of the OUT without some shards, and with others behind the rest.

        What lies there of another plan is cleared away first, so that a part of the manifest
        always speaks of the bytes of its shard.
        """
        store, before = self._artifacts.store, len(self.shards)
        for shard in gone:
            del self.shards[shard.name]
            self._strays += (shard.index, shard.tar)
            for partition, first, last in shard.parts:
                self._placed[partition].remove((first, last))
        torn = len(self.shards) < before
        for stray in self._strays:
            store.remove(stray)
        self._strays = []
        for shard in new:
            self._add(shard)
        if torn:
            self._table = _plan_table(self.shards.values())
        else:
            self._table = pa.concat_tables([self._table, _plan_table(new)]).combine_chunks()
        if torn or new or self._stale:
            about = {"gpa.fingerprint": self._fingerprint}
            store.write(PLAN, parquet_bytes(self._table.replace_schema_metadata(about)))
        self._stale = False

    def _add(self, shard: Shard) -> None:
        self.shards[shard.name] = shard
        for partition, first, last in shard.parts:
            self._placed.setdefault(partition, set()).add((first, last))

    def _extension(
        self, wave: Collection[str], made: Sequence[str]
    ) -> tuple[list[Shard], list[Shard], list[Shard]]:
        """The shards that go, those that are new, and all that are to be written."""
        due = [shard for last in (None, *wave) for shard in self._due.get(last, ())]
        there = set(made)
        gone = [
            shard
            for shard in due
            if any(part[0] not in there and part[0] not in self._made for part in shard.parts)
        ]
        names = {shard.name for shard in gone}
        torn = {part for shard in gone for part in shard.parts}
        partitions = {part[0] for part in torn}
        open_ = sorted(partitions & self._made, key=self._place.__getitem__)
        open_ += [name for name in made if name in partitions or not self._placed.get(name)]

        def left() -> Iterator[tuple[str, list[int | None]]]:
            tables = self._artifacts.tables("packaged", self._fingerprint, open_, ["bytes"])
            for partition, table in zip(open_, tables, strict=True):
                row_bytes = table["bytes"].to_pylist()
                for first, last in self._placed.get(partition, ()):
                    if (partition, first, last) not in torn:
                        row_bytes[first:last] = [None] * (last - first)
                yield partition, row_bytes

        # Numbers ascend, so the last that stays has the highest.
        highest = next((name for name in reversed(self.shards) if name not in names), "shard--1")
        number = 1 + int(highest.removeprefix("shard-"))
        new = plan_shards(left(), self._shard_bytes, number)
        left_over = [each for each in due if each.name not in names and each not in self._written]
        return gone, new, [*left_over, *new]


def written_shards(store: Store) -> list[Shard]:
    """Shards that are whole, of an OUT as it is."""
    shards, _ = _plan_before(store)
    return _whole(shards, *_lying(store))


def _whole(shards: Iterable[Shard], indexes: set[str], tars: set[str]) -> list[Shard]:
    return [shard for shard in shards if shard.name in indexes & tars]


def _plan_before(store: Store) -> tuple[list[Shard], str]:
    """As `read_plan`; no shards and no fingerprint where there is no plan that can be read."""
    try:
        return read_plan(store)
    except (OSError, pa.ArrowException):
        return [], ""


def _plan_table(shards: Iterable[Shard]) -> pa.Table:
    parts = [(shard.name, *part) for shard in shards for part in shard.parts]
    return pa.Table.from_pylist(
        [dict(zip(PLAN_SCHEMA.names, part, strict=True)) for part in parts], PLAN_SCHEMA
    )


def _lying(store: Store) -> tuple[set[str], set[str]]:
    """Names of the shards whose parts of the manifest lie there, and of those whose tars do."""
    indexes = {name.removesuffix(".parquet") for name in store.names(MANIFEST)}
    names = store.names(CURATED)
    return indexes, {name.removesuffix(".tar") for name in names if name.endswith(".tar")}


def write(
    engine: Engine,
    artifacts: ArtifactStore,
    fingerprints: Mapping[str, str],
    shards: Sequence[Shard],
    pool: Pool,
) -> None:
    """Write these shards, each with its part of the manifest."""
    names = [shard.name for shard in shards]
    items = pa.table({"name": names, "parts": [json.dumps(shard.parts) for shard in shards]})
    arguments = (artifacts.store.url, fingerprints["packaged"], fingerprints["utterances"])
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
    strays = _strays({shard.name for shard in shards}, *_lying(store))
    return [f"{stray} is in no plan" for stray in sorted(strays)]


def _strays(names: Collection[str], indexes: set[str], tars: set[str]) -> list[str]:
    """Files among the shards that are of none of these names, parts of the manifest first."""
    strays = [index_name(name) for name in sorted(indexes) if name not in names]
    return strays + [f"{CURATED}/{name}.tar" for name in sorted(tars) if name not in names]


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
