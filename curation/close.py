"""The close of a run, a group of partitions at a time: what was dropped, and the books.

An utterance belongs to one partition and one shard. So workers write down what was dropped of a
group and balance it against the shards that hold the rest of it; the driver adds up.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gpa.curation.report.books import (
    REJECTED,
    Books,
    StageTables,
    corpus_rejects,
    in_file_time,
    keep,
    stage_rejects,
)
from gpa.curation.report.outputs import Run
from gpa.curation.shards import MANIFEST_SCHEMA, Shard, index_name, read_index, read_plan
from gpa.runtime.artifacts import ArtifactStore, parquet_bytes, read_parquet
from gpa.runtime.execution import Engine, Pool
from gpa.runtime.storage import Store

# A folder: INGEST, and one file a group of partitions.
REJECTED_TABLE = "rejected.parquet"
INGEST = f"{REJECTED_TABLE}/ingest.parquet"
# Partitions that are closed together: some ten hours of audio, and one file.
GROUP = 64
RECORDING = ("recording_id", "path", "duration_s")
KEPT = ("utterance_id", "recording_id", "duration_s")


@dataclass(frozen=True)
class Group:
    """Partitions that are closed together, and the shards in which any of their utterances lie."""

    name: str
    partitions: tuple[str, ...]
    shards: tuple[str, ...]

    @property
    def rejected(self) -> str:
        """The file of what was dropped of them."""
        return f"{REJECTED_TABLE}/{self.name}.parquet"


def groups(partitions: Sequence[str], shards: Sequence[Shard]) -> list[Group]:
    """All partitions in their order, in groups."""
    holding: dict[str, list[str]] = {}
    for shard in shards:
        for partition, _, _ in shard.parts:
            holding.setdefault(partition, []).append(shard.name)
    found = []
    for number, first in enumerate(range(0, len(partitions), GROUP)):
        members = tuple(partitions[first : first + GROUP])
        names = dict.fromkeys(name for each in members for name in holding.get(each, ()))
        found.append(Group(f"part-{number:06d}", members, tuple(names)))
    return found


class Closer:
    """The actor that closes groups; see `gpa.runtime.execution.Engine.map`."""

    def __init__(self, url: str, fingerprints: Mapping[str, str]):
        self._artifacts = ArtifactStore(Store(url))
        self._fingerprints = fingerprints

    def __call__(self, block: dict[str, Any]) -> dict[str, list[Any]]:
        closed = [self._close(*pickle.loads(work)) for work in block["work"]]
        return {"closed": [pickle.dumps(each) for each in closed]}

    def _close(self, group: Group, dropping: Sequence[Sequence[StageTables]]) -> tuple[str, Books]:
        """`dropping` are the stages that dropped anything, of each of the partitions."""
        artifacts, named = self._artifacts, self._fingerprints
        tables = [
            table
            for partition, stages in zip(group.partitions, dropping, strict=True)
            for table in stage_rejects(artifacts, stages, named["recordings"], partition)
        ]
        places = artifacts.tables(
            "recordings", named["recordings"], group.partitions, ["recording_id", "start_s"]
        )
        rejected = in_file_time(
            pa.concat_tables([REJECTED.empty_table(), *tables]), pa.concat_tables(places)
        )
        artifacts.store.write(group.rejected, parquet_bytes(rejected))
        return group.name, account(artifacts, named, group, rejected)


def close(run: Run, engine: Engine, pool: Pool) -> Books:
    """Write `rejected.parquet` anew, and balance the books of a run whose shards are written."""
    store = run.artifacts.store
    store.remove(REJECTED_TABLE)
    store.write(INGEST, parquet_bytes(corpus_rejects(run.corpus)))
    shards, _ = read_plan(store)
    work = [
        pickle.dumps((group, [run.dropping(partition) for partition in group.partitions]))
        for group in groups(run.partitions, shards)
    ]
    arguments = (store.url, run.fingerprints)
    closed = engine.map(Closer, arguments, pa.table({"work": pa.array(work, pa.binary())}), pool)
    # Sums of floats depend on their order, and workers end in any.
    of_groups = dict(pickle.loads(row["closed"]) for row in closed)
    return added(run, (of_groups[name] for name in sorted(of_groups)))


def recount(run: Run) -> Books:
    """The books of a run by the tables that lie there, group by group.

    Raises FileNotFoundError, OSError or pyarrow.ArrowException where one can't be read.
    """
    store = run.artifacts.store
    shards, _ = read_plan(store)
    return added(
        run,
        (
            account(
                run.artifacts, run.fingerprints, group, read_parquet(store.read(group.rejected))
            )
            for group in groups(run.partitions, shards)
        ),
    )


def account(
    artifacts: ArtifactStore, fingerprints: Mapping[str, str], group: Group, rejected: pa.Table
) -> Books:
    """The books of a group, of which `rejected` was dropped."""
    recordings = pa.concat_tables(
        artifacts.tables("recordings", fingerprints["recordings"], group.partitions, RECORDING)
    )
    files = recordings.append_column("state", pa.repeat("recording", len(recordings)))
    store = artifacts.store
    kept = [MANIFEST_SCHEMA.empty_table().select(KEPT)]
    for shard in store.ahead(group.shards, lambda name: [index_name(name)]):
        index, _ = read_index(store, shard, KEPT)
        ours = pc.is_in(index["recording_id"], value_set=recordings["recording_id"])
        kept.append(index.filter(ours))
    manifest = pa.concat_tables(kept)
    return keep(artifacts, files, fingerprints, group.partitions, manifest, rejected)


def added(run: Run, of_groups: Iterable[Books]) -> Books:
    """The books of a run: of what ingest dropped or ignored, and of all groups."""
    recording = pc.equal(run.corpus["state"], "recording")
    rest = run.corpus.filter(pc.invert(recording))
    none = MANIFEST_SCHEMA.empty_table()
    books = keep(run.artifacts, rest, run.fingerprints, [], none, corpus_rejects(rest))
    others = books.recordings.total()
    for each in of_groups:
        books += each
    listed, found = pc.sum(recording).as_py() or 0, books.recordings.total() - others
    if listed != found:
        books.differences.append(f"{listed} recordings are listed, partitions hold {found}")
    return books
