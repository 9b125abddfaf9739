"""Files that hold recordings: WebDataset tars, and Parquet with an `audio` struct, read in place.

A tar's members are grouped as WebDataset does, by their names up to the first dot: what lies in
`KEY.json`, and in `KEY.txt` as the text, is said of `KEY.mp3`. That is Emilia's layout; the tars of
Lhotse Shar have their cuts beside them. A Parquet file of the kind that `datasets` writes has the
bytes in `audio.bytes`, or a path in `audio.path`; its other columns are said of the row.
What can't be read is one row, and the others are taken.
"""

from __future__ import annotations

import gzip
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from gpa.curation.decoding.places import in_bytes, in_row
from gpa.curation.ingest.lhotse import said_of
from gpa.runtime.errors import one_line

SUFFIXES = (".tar", ".parquet")
AUDIO = "audio"
# Larger files beside a recording are no description of it.
MOST_BYTES = 1 << 20
SHAR = re.compile(r"recording\.(\d+)\.tar$")


@dataclass(frozen=True)
class Member:
    """A file in a container: its name there, the place that opens it, and what is said of it."""

    name: str
    place: str = ""
    size: int = 0
    said: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    file: str | None = None  # a file of its own, that a row only names


def cuts_beside(tar: str) -> str | None:
    """The name of the cuts of a tar of Lhotse Shar."""
    return SHAR.sub(r"cuts.\1.jsonl.gz", tar) if SHAR.search(tar) else None


def read_cuts(data: bytes) -> dict[str, dict[str, Any]]:
    """What the cuts of a Shar say, by their ids; raises ValueError or OSError where damaged."""
    cuts = map(json.loads, gzip.decompress(data).splitlines())
    return {cut["id"]: said_of(cut) for cut in cuts}


def tar_members(
    file: IO[bytes], uri: str, size: int, known: Mapping[str, Mapping[str, Any]]
) -> Iterator[Member]:
    """Members in their order, without those that only describe others.

    `known` is what is said of them by key, besides. A tar that breaks off has what lies before,
    and a member without a name that says where.
    """
    members: list[tarfile.TarInfo] = []
    broken = None
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                if member.isfile():
                    members.append(member)
    except (tarfile.TarError, ValueError) as error:
        broken = f"it is no whole tar, {len(members)} files in: {one_line(error)}"
    if members and members[-1].offset_data + members[-1].size > size:
        broken = f"it is no whole tar: it breaks off in {members.pop().name}"
    keys = [_key(member.name) for member in members]
    kinds = [member.name.rpartition(".")[2].lower() for member in members]
    described = {
        key for key, kind in zip(keys, kinds, strict=True) if kind not in ("json", "txt", "cls")
    }
    said: dict[str, dict[str, Any]] = {}
    wrong: dict[str, str] = {}
    for key, kind, member in zip(keys, kinds, members, strict=True):
        if key in described and kind in ("json", "txt") and member.size <= MOST_BYTES:
            file.seek(member.offset_data)
            try:
                said.setdefault(key, {}).update(_described(kind, file.read(member.size)))
            except ValueError as error:
                wrong[key] = f"{member.name} is no description of it: {one_line(error)}"
    for key, kind, member in zip(keys, kinds, members, strict=True):
        if key in described and kind in ("json", "txt", "cls"):
            continue
        yield Member(
            member.name,
            in_bytes(uri, member.offset_data, member.size),
            member.size,
            {**said.get(key, {}), **known.get(key.rpartition("/")[2], {})},
            wrong.get(key),
        )
    if broken is not None:
        yield Member("", error=broken)


def _key(name: str) -> str:
    folder, _, base = name.rpartition("/")
    return f"{folder}/{base.partition('.')[0]}"


def _described(kind: str, data: bytes) -> dict[str, Any]:
    """What a file beside a recording says; raises ValueError."""
    text = data.decode("utf-8-sig")
    if kind == "txt":
        return {"text": text.strip()}
    row = json.loads(text)
    if not isinstance(row, dict):
        raise ValueError("no JSON object")
    return row


def holds_audio(schema: pa.Schema) -> bool:
    """Whether a Parquet file has the struct that `datasets` writes for audio."""
    if AUDIO not in schema.names:
        return False
    kind = schema.field(AUDIO).type
    return pa.types.is_struct(kind) and {"bytes", "path"} <= {each.name for each in kind}


def parquet_members(file: pq.ParquetFile, uri: str) -> Iterator[Member]:
    """A member for each row, in order; the audio itself is not read."""
    columns = [name for name in file.schema_arrow.names if name != AUDIO]
    number = 0
    for group in range(file.num_row_groups):
        meta = file.metadata.row_group(group)
        chunks = {meta.column(n).path_in_schema: meta.column(n) for n in range(meta.num_columns)}
        audio = chunks[f"{AUDIO}.bytes"]
        absent = audio.statistics is not None and audio.statistics.null_count == meta.num_rows
        size = max(1, audio.total_uncompressed_size // max(1, meta.num_rows))  # the mean
        table = file.read_row_group(group, columns=[*columns, f"{AUDIO}.path"])
        for index, row in enumerate(table.to_pylist()):
            path = (row.pop(AUDIO) or {}).get("path") or ""
            name = f"{number:07d}{'-' if path else ''}{path.rpartition('/')[2]}"
            number += 1
            if not absent:
                yield Member(name, in_row(uri, group, index, AUDIO), size, row)
            elif path:
                yield Member(name, said=row, file=path)
            else:
                yield Member(name, error="its row holds no audio")
