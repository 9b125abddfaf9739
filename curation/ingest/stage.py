"""Step 1, ingest: what recordings there are, which are the same, and how they are shared out.

Files are probed and hashed on the workers, in chunks that are remembered, so that a corpus that
changed is not read again. Then every file, or segment of one that a manifest names, has one state:
it is curated from, rejected (a duplicate, unreadable, without audio), not read this time, or no
recording at all. Recordings are grouped in path order into partitions of about the same audio; a
partition is named by what is in it (`tables.LAYERS`). What was grouped in an OUT stays together
(ARRANGED), so that new files make new partitions and leave the work on old ones valid.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gpa.curation.audio import DecodeError, opened, probe
from gpa.curation.ingest.files import RawFile
from gpa.curation.ingest.parts import IngestConfig, key_of, of_channel, part, parts
from gpa.curation.spans import filled
from gpa.curation.tables import LAYERS, RECORDINGS
from gpa.runtime.artifacts import read_parquet
from gpa.runtime.config import Config, digest
from gpa.runtime.errors import NotReadError
from gpa.runtime.naming import partition_name
from gpa.runtime.stage import Artifact, Attempts, Stage, rows, table_of
from gpa.runtime.storage import Store

READ_BYTES = 1 << 22
# Files a worker probes in one go, on average; few enough to share out, many enough to make few
# artifacts.
CHUNK_FILES = 200
# The version of LISTING tables, which are no stage's: their fingerprint.
LISTING_FINGERPRINT = "1"
KILLED_WORKERS = "it killed two workers that tried to read it"

LISTING = pa.schema(
    [
        ("uri", pa.string()),
        ("size", pa.int64()),
        ("stamp", pa.string()),
    ]
)

# An audio stream of a file: `audio.Probe`.
STREAM = pa.struct(
    [
        ("duration_s", pa.float64()),
        ("sample_rate", pa.int32()),
        ("channels", pa.int32()),
        ("codec", pa.string()),
        ("heard", pa.bool_()),
        ("live_channels", pa.list_(pa.int32())),
        ("is_call", pa.bool_()),
    ]
)

PROBED = pa.schema(
    [
        *LISTING,
        ("error", pa.string()),  # why it is no recording
        ("sha256", pa.string()),
        ("streams", pa.list_(STREAM)),  # its audio streams; null where it has none
    ]
)

# One row a file, segment, channel that is a recording, or audio stream that is none;
# `corpus.parquet` at the root of OUT. States: "recording" (has a partition), "rejected" (has a
# reason), "not_read" (storage did not give it, the next run asks again), "ignored" (is hidden, or
# never claimed to be audio and is not).
CORPUS = pa.schema(
    [
        pa.field("recording_id", pa.string()),
        pa.field("path", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("sha256", pa.string()),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),  # in the file
        pa.field("end_s", pa.float64()),  # null: where the file ends
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("duplicate_of", pa.string()),
        pa.field("partition", pa.string()),
    ]
)

# One row a recording, partition by partition, at the root of OUT: what the next run, on a corpus
# that grew, leaves as it is.
ARRANGED_TABLE = "partitions.parquet"
ARRANGED = pa.schema(
    [
        pa.field("recording_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("partition", pa.string(), nullable=False),
    ]
)
# What is known of a file once its state is.
DECIDED = pa.schema(
    {field.name: field.with_nullable(True) for field in [*RECORDINGS, *CORPUS]}.values()
)


class ProbeConfig(Config):
    """Probing has no options: its artifacts depend on the files alone."""


class ProbeStage(Stage):
    """Hash and probe the files of one chunk of the listing."""

    step = "ingest"
    version = 4

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        """One PROBED row a listed file, in order; raises NotReadError where one is not given."""
        probed = []
        not_read: dict[str, str] = {}
        for row in rows(inputs["listing"].table):
            uri = row["uri"]
            if uri in attempts.quarantined:
                probed.append({**row, "error": KILLED_WORKERS})
                continue
            with attempts.on([uri]):
                try:
                    probed.append(probe_row(row))
                except NotReadError as error:
                    not_read |= error.why
        if not_read:
            raise NotReadError(not_read)
        seconds = sum(stream["duration_s"] for row in probed for stream in row.get("streams") or [])
        return Artifact(pa.Table.from_pylist(probed, PROBED), audio_s=seconds)


def probe_stage() -> ProbeStage:
    """The stage as a run has it."""
    return ProbeStage("probed", ProbeConfig(), ["listing"])


def probe_row(row: dict) -> dict:
    """A LISTING row with what the file's bytes say; raises NotReadError."""
    found = {"sha256": content_sha256(row["uri"])}
    if row["size"] == 0:
        return {**row, **found, "error": "it is empty"}
    try:
        return {**row, **found, "streams": list(map(asdict, probe(row["uri"])))}
    except DecodeError as error:
        return {**row, **found, "error": str(error)}


def content_sha256(uri: str) -> str:
    """SHA-256 of a file's bytes, read in pieces; raises NotReadError."""
    sha = hashlib.sha256()
    with opened(uri) as file:
        while piece := file.read(READ_BYTES):
            sha.update(piece)
    return sha.hexdigest()


def chunks(files: Sequence[RawFile]) -> dict[str, pa.Table]:
    """LISTING tables of the files to open, each file once, named by what is in them.

    A chunk ends behind a file whose address hashes to 0 modulo CHUNK_FILES: a file that comes,
    goes or changes leaves all chunks but its own as they are.
    """
    opened_files = {file.uri: (file.size, file.stamp) for file in files if file.error is None}
    found: dict[str, pa.Table] = {}
    chunk: list[dict] = []
    for uri in sorted(opened_files):
        chunk.append(dict(zip(LISTING.names, (uri, *opened_files[uri]), strict=True)))
        if int(digest(uri), 16) % CHUNK_FILES == 0:
            found |= _chunk(chunk)
            chunk = []
    return found | _chunk(chunk) if chunk else found


def one_by_one(chunk: pa.Table) -> dict[str, pa.Table]:
    """The files of a chunk as chunks of their own, so that one that can't be read is alone."""
    return {name: table for row in rows(chunk) for name, table in _chunk([row]).items()}


def _chunk(listed: list[dict]) -> dict[str, pa.Table]:
    return {f"files-{digest(listed)}": pa.Table.from_pylist(listed, LISTING)}


class Partitions(Mapping[str, pa.Table]):
    """RECORDINGS by partition, each cut out of one table when it is asked for.

    A table of its own for each of a million partitions would take 17 GB of the driver's memory.
    """

    def __init__(self, recordings: pa.Table, names: Sequence[str], lengths: Sequence[int]):
        """`lengths` are the rows of each partition, in the order in which they lie."""
        self._recordings = recordings
        self._numbers = {name: number for number, name in enumerate(names)}
        self._starts = np.cumsum([0, *lengths])

    def __getitem__(self, name: str) -> pa.Table:
        number = self._numbers[name]
        first, end = self._starts[number : number + 2].tolist()
        return self._recordings.slice(first, end - first)

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def arranged(self) -> pa.Table:
        """All of them, in ARRANGED."""
        names = pa.array(list(self._numbers), pa.string())
        number = np.repeat(np.arange(len(names)), np.diff(self._starts))
        listed = self._recordings.select(["recording_id", "path"])
        return listed.append_column(ARRANGED.field("partition"), names.take(pa.array(number)))


@dataclass(frozen=True)
class Corpus:
    """All files with their states, and the partitions of those that are recordings."""

    table: pa.Table  # CORPUS
    partitions: Partitions  # id -> RECORDINGS; kept as one table


def arranged(store: Store) -> pa.Table:
    """What an OUT holds arranged, in ARRANGED; nothing in a new one."""
    try:
        return read_parquet(store.read(ARRANGED_TABLE))
    except (FileNotFoundError, pa.ArrowException):
        return ARRANGED.empty_table()


def arrange(
    files: Sequence[RawFile],
    probed: pa.Table,
    not_read: Mapping[str, str],
    config: IngestConfig,
    before: pa.Table | None = None,
) -> Corpus:
    """Give every file its state and its partition.

    `files` are in path order; `probed` (PROBED, in any order) and `not_read` (the reasons, by
    address) say what became of those that were opened. Of files with the same bytes, and segments
    of them that are the same, the first in path order is the recording, the others are its
    duplicates. `recording_id` is the start of the file's SHA-256, with the milliseconds between
    which a segment lies, and its channel or, of an audio stream that is not taken, `-a` and its
    number; numbered where repeated.

    `before` (ARRANGED) is what was found the last time: a recording stays the one of its copies,
    partitions stay as they were as long as all their recordings are there, and what is new or left
    over makes partitions behind them, in path order.
    """
    before = ARRANGED.empty_table() if before is None else before
    decided = table_of(_decided(files, probed, not_read, config, before), DECIDED)
    del probed  # as `decided` below, of a million files a fifth of a gigabyte
    states = decided.select(CORPUS.names).cast(CORPUS)
    number = pa.array(np.flatnonzero(pc.equal(decided["state"], "recording")))
    found = decided.select(["recording_id", "duration_s"]).take(number)
    groups = regrouped(found, before, config.partition_minutes * 60.0)
    order = number.take(pa.array(chain.from_iterable(groups), pa.int64()))
    lengths = list(map(len, groups))
    del found, groups
    recordings = decided.select(RECORDINGS.names).take(order).cast(RECORDINGS)
    del decided
    in_order = rows(recordings)
    names = [named(list(islice(in_order, length))) for length in lengths]
    partitions = Partitions(recordings, names, lengths)
    places = np.full(len(states), -1)
    places[order.to_numpy()] = np.arange(len(order))
    partition = partitions.arranged()["partition"].take(pa.array(places, mask=places < 0))
    column = CORPUS.get_field_index("partition")
    return Corpus(states.set_column(column, CORPUS.field(column), partition), partitions)


def _decided(
    files: Sequence[RawFile],
    probed: pa.Table,
    not_read: Mapping[str, str],
    config: IngestConfig,
    before: pa.Table,
) -> Iterator[dict[str, Any]]:
    """The state of every file, and what else of DECIDED is known of it."""
    places = pc.index_in(pa.array((file.uri for file in files), pa.string()), probed["uri"])
    opened_files = probed.drop_columns(["size", "stamp", "uri"]).take(places)
    was_at = dict(
        zip(*(before[name].to_pylist() for name in ("recording_id", "path")), strict=True)
    )
    stay = {
        key: file.path
        for file, found in (parts(files, rows(opened_files), config) if was_at else ())
        if was_at.get(key := key_of(file, found)) == file.path
    }
    first: dict[str, str | None] = dict(stay)  # None: one that is no recording
    copies: dict[str, int] = {}  # of those that there are several of
    for file, found in parts(files, rows(opened_files), config):
        here = part(file, found)
        error = file.error or not_read.get(file.uri) or found["error"]
        key = key_of(file, found)
        stays = stay.get(key) == file.path
        if stays:
            del stay[key]  # named twice, it is a copy the second time
        elif key in first:
            copies[key] = copies.get(key, 1) + 1
        first.setdefault(key, None)
        row = {
            **found,
            "recording_id": key if stays or key not in copies else f"{key}-{copies[key]}",
            "path": file.path,
            "uri": file.uri,
            "bytes": file.size,
            "start_s": file.start_s,
            "end_s": here["end_s"],
            "duration_s": here["duration_s"],
            "state": "rejected",
        }
        if error and (file.not_read or file.uri in not_read):
            row.update(state="not_read", recording_id=None, detail=error)
        elif error and not file.claimed:
            row.update(state="ignored", recording_id=None, detail=error)
        elif error:
            reason = "quarantined" if error == KILLED_WORKERS else "unreadable"
            row.update(reason=reason, detail=error)
        elif first[key] and not stays:
            row.update(reason="duplicate", duplicate_of=first[key])
        elif found["beside"] is not None:
            first[key] = file.path
            detail = f"audio stream {found['stream']}; stream {found['beside']} is the recording"
            row.update(reason="other_stream", detail=detail)
        elif row["duration_s"] < config.min_duration_s:
            first[key] = file.path
            row.update(reason="too_short", detail=f"{row['duration_s']:.3f} s")
        else:
            first[key] = file.path
            row.update(
                state="recording",
                detail=of_channel(file, found),
                language=file.language,
                channel=file.channel,
                text=_text(file.given),
                given=file.given,
            )
        yield row


def waiting(corpus: pa.Table, made: Collection[str], not_read: Mapping[str, str]) -> pa.Table:
    """CORPUS where recordings of partitions that were not `made` are not read this time."""
    left_out = pc.invert(pc.is_in(corpus["partition"], pa.array(made, pa.string())))
    waits = pc.and_(corpus["partition"].is_valid(), left_out)
    why = pc.index_in(corpus["uri"], pa.array(not_read, pa.string()))
    detail = pa.array(not_read.values(), pa.string()).take(why)
    said = {
        "state": "not_read",
        "partition": pa.scalar(None, pa.string()),
        "recording_id": pa.scalar(None, pa.string()),
        "detail": pc.fill_null(detail, "it waits for others of its partition"),
    }
    for name, value in said.items():
        column = pc.if_else(waits, value, corpus[name])
        corpus = corpus.set_column(CORPUS.get_field_index(name), CORPUS.field(name), column)
    return corpus


def named(recordings: Sequence[Mapping[str, Any]]) -> str:
    """The name of the partition that holds these RECORDINGS rows."""
    return partition_name(
        [[[row[name] for name in columns] for row in recordings] for columns in LAYERS.values()]
    )


def _text(given: str) -> str | None:
    """The transcript among what a manifest says."""
    text = json.loads(given).get("text")
    return None if text is None else str(text)


def regrouped(recordings: pa.Table, before: pa.Table, target_s: float) -> list[list[int]]:
    """Rows of recordings: groups of `before` (ARRANGED) that are whole, then groups of the rest."""
    seconds = recordings["duration_s"].to_numpy()
    groups: list[list[int]] = []
    places = pc.index_in(before["recording_id"], recordings["recording_id"]).to_pylist()
    grouped = zip(before["partition"].to_pylist(), places, strict=True)
    for _, members in groupby(grouped, key=itemgetter(0)):
        group = [place for _, place in members]
        if None not in group:
            groups.append(group)
    placed = set(chain.from_iterable(groups))
    left = (place for place in range(len(recordings)) if place not in placed)
    return [*groups, *filled(left, seconds.__getitem__, target_s)]
