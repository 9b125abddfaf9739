"""Where a recording's bytes lie: a file, a range of bytes in one, or a row of a Parquet file.

A place is written as what opens it, in one string: an absolute path or a URL, before which stands
`bytes=FIRST+SIZE:` for a member of a tar, and `row=GROUP.INDEX:COLUMN:` for a row. No path or URL
begins so. What lies in a container is read there, and nothing is unpacked.
"""

from __future__ import annotations

import io
import re
from functools import lru_cache
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from gpa.curation.decoding.containers import Part, PartFile
from gpa.runtime.storage import filesystem_of

_PLACE = re.compile(r"bytes=(\d+)\+(\d+):(.+)|row=(\d+)\.(\d+):([^:]+):(.+)", re.DOTALL)


def in_bytes(uri: str, first: int, size: int) -> str:
    """The place of so many bytes of a file."""
    return f"bytes={first}+{size}:{uri}"


def in_row(uri: str, group: int, index: int, column: str) -> str:
    """The place of what a struct column of a Parquet file has as `bytes`, in a row of a row group."""
    return f"row={group}.{index}:{column}:{uri}"


def open_place(place: str) -> IO[bytes]:
    """A seekable file; raises what storage does."""
    found = _PLACE.fullmatch(place)
    if found is None:
        return open_file(place)
    first, size, file, group, index, column, table = found.groups()
    if file is not None:
        return io.BufferedReader(_Range(open_file(file), Part(int(first), int(first) + int(size))))
    filesystem, path = filesystem_of(table)
    # With what tells versions of the file apart, so that no other one is taken for it.
    return io.BytesIO(_of_group(table, filesystem.ukey(path), int(group), column)[int(index)])


def open_file(uri: str) -> IO[bytes]:
    """A whole file; only what holds "://" is a URL, so that a path may hold anything else."""
    if "://" not in uri:
        return Path(uri).open("rb")
    filesystem, path = filesystem_of(uri)
    return filesystem.open(path, "rb")


@lru_cache(maxsize=1)
def _of_group(table: str, version: str, group: int, column: str) -> list[bytes]:
    """A row group's files: Parquet gives none of them alone, and they are asked for in order."""
    with open_file(table) as file:
        found = pq.ParquetFile(pa.PythonFile(file, mode="r")).read_row_group(
            group, columns=[f"{column}.bytes"]
        )
    return [(row or {}).get("bytes") or b"" for row in found[column].to_pylist()]


class _Range(PartFile):
    """A part of a file, which closes with it."""

    def close(self) -> None:
        self._file.close()
        super().close()
