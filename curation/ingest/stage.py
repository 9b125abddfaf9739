"""Step 1, ingest: what recordings there are, which are the same, and how they are shared out.

Files are probed and hashed on the workers, in chunks that are remembered, so that a corpus that
grew is not read again. Then every file has one state: it is curated from, rejected (a duplicate,
unreadable, without audio), or no recording at all. Recordings are grouped in path order into
partitions of about the same audio; a partition is named by what is in it, so that new files make
new partitions and leave the work on old ones valid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate

import pyarrow as pa
from pydantic import Field

from gpa.curation.audio import DecodeError, opened, probe
from gpa.curation.ingest.corpus import RawFile
from gpa.curation.tables import RECORDINGS
from gpa.runtime.config import Config, digest
from gpa.runtime.stage import Artifact, Attempts, Stage, rows

READ_BYTES = 1 << 22
# Files a worker probes in one go; small enough to share out, large enough to make few artifacts.
CHUNK_FILES = 200
# The version of LISTING tables, which are no stage's: their fingerprint.
LISTING_FINGERPRINT = "1"
KILLED_WORKERS = "it killed two workers that tried to read it"

LISTING = pa.schema(
    [
        ("path", pa.string()),
        ("uri", pa.string()),
        ("size", pa.int64()),
        ("stamp", pa.string()),
        ("claimed", pa.bool_()),
        ("language", pa.string()),
        ("error", pa.string()),
    ]
)

PROBED = pa.schema(
    [
        *LISTING,
        ("sha256", pa.string()),
        ("duration_s", pa.float64()),
        ("sample_rate", pa.int32()),
        ("channels", pa.int32()),
        ("codec", pa.string()),
    ]
)

# One row a file; `corpus.parquet` at the root of OUT. States: "recording" (has a partition),
# "rejected" (has a reason), "ignored" (is hidden, or never claimed to be audio and is not).
CORPUS = pa.schema(
    [
        pa.field("recording_id", pa.string()),
        pa.field("path", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("sha256", pa.string()),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("duplicate_of", pa.string()),
        pa.field("partition", pa.string()),
    ]
)


class IngestConfig(Config):
    """What goes in, and in what portions."""

    partition_minutes: float = Field(10.0, gt=0)  # of audio; a longer recording is one alone
    min_duration_s: float = Field(0.1, ge=0)
    allow_outside: bool = False  # a manifest may name files outside its own folder


class ProbeConfig(Config):
    """Probing has no options: its artifacts depend on the files alone."""


class ProbeStage(Stage):
    """Hash and probe the files of one chunk of the listing."""

    step = "ingest"

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        """One PROBED row a listed file, in order."""
        probed = []
        for row in rows(inputs["listing"].table):
            key = row["path"]
            if key in attempts.quarantined:
                probed.append({**row, "error": KILLED_WORKERS})
                continue
            with attempts.on([key]):
                probed.append(_probe_row(row))
        seconds = sum(row.get("duration_s") or 0.0 for row in probed)
        return Artifact(pa.Table.from_pylist(probed, PROBED), audio_s=seconds)


def probe_stage() -> ProbeStage:
    """The stage as a run has it."""
    return ProbeStage("probed", ProbeConfig(), ["listing"])


def _probe_row(row: dict) -> dict:
    """A LISTING row with what the file's bytes say."""
    if row["error"]:
        return row
    try:
        found = {"sha256": content_sha256(row["uri"])}
    except DecodeError as error:
        return {**row, "error": str(error)}
    except OSError as error:
        return {**row, "error": f"it can't be read: {error.strerror or error}"}
    if row["size"] == 0:
        return {**row, **found, "error": "it is empty"}
    try:
        return {**row, **found, **asdict(probe(row["uri"]))}
    except DecodeError as error:
        return {**row, **found, "error": str(error)}


def content_sha256(uri: str) -> str:
    """SHA-256 of a file's bytes, read in pieces; raises DecodeError or OSError."""
    sha = hashlib.sha256()
    with opened(uri) as file:
        while piece := file.read(READ_BYTES):
            sha.update(piece)
    return sha.hexdigest()


def chunks(files: Sequence[RawFile]) -> dict[str, pa.Table]:
    """LISTING tables of at most CHUNK_FILES files each, named by what is in them."""
    found = {}
    for start in range(0, len(files), CHUNK_FILES):
        listed = [asdict(file) for file in files[start : start + CHUNK_FILES]]
        found[f"files-{digest(listed)}"] = pa.Table.from_pylist(listed, LISTING)
    return found


class Partitions(Mapping[str, pa.Table]):
    """RECORDINGS by partition, each cut out of one table when it is asked for.

    A table of its own for each of a million partitions would take 17 GB of the driver's memory.
    """

    def __init__(self, recordings: pa.Table, sizes: Mapping[str, int]):
        """`sizes` are the rows of each partition, in the order in which they lie."""
        self._recordings = recordings
        self._places = dict(zip(sizes, accumulate(sizes.values(), initial=0), strict=False))
        self._sizes = sizes

    def __getitem__(self, name: str) -> pa.Table:
        return self._recordings.slice(self._places[name], self._sizes[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)


@dataclass(frozen=True)
class Corpus:
    """All files with their states, and the partitions of those that are recordings."""

    table: pa.Table  # CORPUS
    partitions: Mapping[str, pa.Table]  # id -> RECORDINGS, in path order; kept as one table


def arrange(probed: Iterable[dict], config: IngestConfig) -> Corpus:
    """Give every probed file (rows of PROBED, in path order) its state and its partition.

    Of files with the same bytes the first in path order is the recording, the others are its
    duplicates. `recording_id` is the start of the content's SHA-256, numbered where repeated.
    """
    first: dict[str, str] = {}
    copies: dict[str, int] = {}
    files: list[dict] = []
    recordings: list[dict] = []
    for row in probed:
        sha = row["sha256"] or hashlib.sha256(row["path"].encode()).hexdigest()
        copies[sha] = copies.get(sha, 0) + 1
        number = f"-{copies[sha]}" if copies[sha] > 1 else ""
        file = {
            "recording_id": f"{sha[:16]}{number}",
            "path": row["path"],
            "uri": row["uri"],
            "sha256": row["sha256"],
            "bytes": row["size"],
            "duration_s": row["duration_s"] or 0.0,
            "state": "rejected",
        }
        files.append(file)
        if row["error"] and not row["claimed"]:
            file.update(state="ignored", recording_id=None, detail=row["error"])
        elif row["error"]:
            reason = "quarantined" if row["error"] == KILLED_WORKERS else "unreadable"
            file.update(reason=reason, detail=row["error"])
        elif sha in first:
            file.update(reason="duplicate", duplicate_of=first[sha])
        elif row["duration_s"] < config.min_duration_s:
            first[sha] = row["path"]
            file.update(reason="too_short", detail=f"{row['duration_s']:.3f} s")
        else:
            first[sha] = row["path"]
            file.update(state="recording")
            known = {**row, **file}
            recordings.append({name: known[name] for name in RECORDINGS.names})
    sizes: dict[str, int] = {}
    place: dict[str, str] = {}
    for group in grouped(recordings, config.partition_minutes * 60.0):
        name = f"part-{digest([recording['recording_id'] for recording in group])}"
        sizes[name] = len(group)
        place |= {recording["recording_id"]: name for recording in group}
    for file in files:
        file["partition"] = place.get(file["recording_id"])
    partitions = Partitions(pa.Table.from_pylist(recordings, RECORDINGS), sizes)
    return Corpus(pa.Table.from_pylist(files, CORPUS), partitions)


def grouped(recordings: Sequence[dict], target_s: float) -> list[list[dict]]:
    """Recordings in their order, in groups that end once they hold `target_s` of audio."""
    groups: list[list[dict]] = []
    room = 0.0
    for recording in recordings:
        if room <= 0:
            groups.append([])
            room = target_s
        groups[-1].append(recording)
        room -= recording["duration_s"]
    return groups
