"""The files of a corpus, in columns: as objects a million of them would take half a gigabyte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gpa.runtime.stage import rows, table_of

# How they are ordered: by path and, in a file, by time.
ORDER = ("path", "start_s", "end_s", "channel")


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file, a part of one, or a segment, that may be a recording.

    `path` is how the corpus names it, `uri` what opens it (`gpa.curation.decoding.places`). `stamp`
    changes when the file does, so that content need not be hashed again. `claimed` tells that its
    name, or a manifest, says audio: then failing to be audio is a reject; otherwise it is simply
    another file. `error` says why it is not opened at all, and `not_read` that this is storage's,
    which may give it another time. The rest is what a manifest says (`manifest.Entry`).
    """

    path: str
    uri: str
    size: int = 0
    stamp: str = ""
    claimed: bool = True
    error: str | None = None
    not_read: bool = False
    language: str | None = None
    start_s: float = 0.0
    end_s: float | None = None
    channel: int | None = None
    given: str = "{}"


# Large strings: all paths together may be longer than the 2 GiB of others.
COLUMNS = {"str": pa.large_string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
FILES = pa.schema(
    [(each.name, COLUMNS[str(each.type).removesuffix(" | None")]) for each in fields(RawFile)]
)
VALUES = attrgetter(*FILES.names)


class Files(Sequence[RawFile]):
    """Files in ORDER; each is an object only while it is asked for."""

    def __init__(self, files: Iterable[RawFile], once: bool = False):
        """`once`: of those with one address one stays, if any one that more is said of."""
        named = (dict(zip(FILES.names, VALUES(file), strict=True)) for file in files)
        table = table_of(named, FILES)
        if once:
            table = _once(table)
        keys = table.select(ORDER)
        for place, name in enumerate(ORDER[2:], start=2):
            keys = keys.set_column(place, name, pc.fill_null(table[name], 0))
        order = pc.sort_indices(keys, [(name, "ascending") for name in ORDER])
        table = table.take(order)  # before chunks are combined, so that there are never three
        self._table = table.combine_chunks()

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[RawFile]:
        return (RawFile(**row) for row in rows(self._table))

    @overload
    def __getitem__(self, place: int) -> RawFile: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[RawFile]: ...
    def __getitem__(self, place: int | slice) -> RawFile | Sequence[RawFile]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        (row,) = self._table.take([place]).to_pylist()
        return RawFile(**row)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Files) and self._table.equals(other._table)


def _once(files: pa.Table) -> pa.Table:
    """FILES with each address once: what a row of Parquet says of a file in the folder stays."""
    addresses = files["uri"].combine_chunks().dictionary_encode()
    chosen = np.empty(len(addresses.dictionary), np.int64)
    told = np.argsort(pc.not_equal(files["given"], "{}").to_numpy(), kind="stable")
    chosen[addresses.indices.to_numpy()[told]] = told  # the last of several stays
    return files if len(chosen) == len(files) else files.take(np.sort(chosen))
