"""Manifests: JSONL, CSV or Parquet with a row for each recording, and what their columns mean.

Lines that Lhotse or NeMo wrote, and the tables of a Kaldi folder, are read as such rows.

A row is a whole file or, by `offset` and `duration` or `start` and `end` (seconds), a segment of
one. What a manifest says beyond what decides is kept as it is, and goes into KEY.json as `given`.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from gpa.curation.ingest import kaldi, lhotse
from gpa.curation.text.languages import folded
from gpa.runtime.errors import UserError
from gpa.runtime.stage import rows

SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".csv", ".parquet")
# The second is NeMo's.
PATHS = ("path", "audio_filepath")
LANGUAGES = ("language", "lang")
TIMES = ("offset", "duration", "start", "end")
# Kept as given, and read: `gpa.curation.package.stage`.
READ_LATER = ("text", "speaker", "licence")
DECIDE = frozenset({*PATHS, *LANGUAGES, *TIMES, "channel"})
# Characters in a field of CSV; the library's own limit is 131,072.
MOST_CHARACTERS = 2**31 - 1
MOST_CHANNELS = 2**16


@dataclass(frozen=True)
class Entry:
    """One row of a manifest; times are seconds in the file."""

    path: str
    language: str | None = None
    start_s: float = 0.0
    end_s: float | None = None  # None: where the file ends
    channel: int | None = None  # from 0; None: all of them
    given: str = "{}"  # JSON of the other columns
    error: str | None = None  # why it can't be read, whatever lies at `path`


def read_manifest(data: bytes, name: str) -> Iterator[Entry]:
    """The rows of a manifest; `name` says by its ending of which kind it is.

    Raises UserError with the line for what can't be read, means nothing, or contradicts itself.
    """
    seen: dict[tuple, int] = {}
    for line, row in _rows(data, name):
        entry = _read(row, f"{name}, line {line}")
        segment = (entry.path, entry.start_s, entry.end_s, entry.channel, entry.error)
        if segment in seen:
            raise UserError(
                f"{name}, line {line}: {entry.path!r} stands in line {seen[segment]} already, "
                "with the same segment; take one of them out."
            )
        seen[segment] = line
        yield entry


def read_kaldi(tables: Mapping[str, bytes], folder: str) -> Iterator[Entry]:
    """The recordings of a Kaldi data folder, given its tables by name; raises UserError, too."""
    for table, line, row, refused in kaldi.rows_of(tables, folder):
        entry = _entry(row, f"{folder}/{table}, line {line}")
        yield replace(entry, error=refused)


def _read(row: Mapping[str, Any], where: str) -> Entry:
    """The entry of a row of ours, of Lhotse or of NeMo."""
    if not lhotse.is_lhotse(row):
        return _entry(row, where)
    try:
        return _entry(lhotse.as_row(row), where)
    except ValueError as error:
        return Entry(str(row.get("id", where)), error=str(error))
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{where}: no cut or recording as Lhotse writes them.") from None


def unread_columns(given: Iterable[str]) -> list[str]:
    """Columns of a manifest that mean nothing to us, sorted; they are kept as given."""
    return sorted({name for each in given for name in json.loads(each)} - {*READ_LATER})


def _entry(row: Mapping[str, Any], where: str) -> Entry:
    said = {name: value for name, value in row.items() if value is not None and value != ""}
    path, *others = [said[column] for column in PATHS if column in said] or [None]
    if others not in ([], [path]):
        raise UserError(f"{where}: `path` and `audio_filepath` name different files.")
    if not isinstance(path, str) or "\0" in path:
        raise UserError(f"{where}: no `path` that names an audio file.")
    if "shard_id" in said and "audio_filepath" in said:  # NeMo's tarred data
        path = f"audio_{said['shard_id']}.tar/{path}"
    kept = _given({name: said[name] for name in said if name not in DECIDE}, path, where)
    start_s, end_s = _times(said, where)
    return Entry(path, _language(said, where), start_s, end_s, _channel(said, where), kept)


def described(row: Mapping[str, Any], where: str) -> tuple[str | None, str]:
    """Language, and `given`, of a whole file that a container describes; raises UserError.

    Times and channels are kept as given: they are those of what the file was cut from.
    """
    said = {name: value for name, value in row.items() if value is not None and value != ""}
    rest = {name: said[name] for name in said if name not in LANGUAGES}
    return _language(said, where), _given(rest, "", where)


def _given(said: Mapping[str, Any], path: str, where: str) -> str:
    """What is kept as it is, as JSON; NaN is nothing."""
    try:
        known = {name: value for name, value in said.items() if value == value}
        kept = json.dumps(known, ensure_ascii=False, sort_keys=True, allow_nan=False, default=str)
        (path + kept).encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: half of a character (a lone surrogate).") from None
    except ValueError:
        raise UserError(f"{where}: an infinite number, which JSON has not.") from None
    return kept


def _language(said: Mapping[str, Any], where: str) -> str | None:
    codes = [said[column] for column in LANGUAGES if column in said]
    try:
        languages = {folded(code) for code in codes}
    except (ValueError, AttributeError, TypeError):
        shown = " and ".join(map(ascii, codes))
        raise UserError(
            f'{where}: `language` must be a code such as "en" or "en-US", not {shown}.'
        ) from None
    if len(languages) > 1:
        raise UserError(f"{where}: `language` and `lang` name different languages.")
    return languages.pop() if languages else None


def _channel(said: Mapping[str, Any], where: str) -> int | None:
    if "channel" not in said:
        return None
    channel = _number(said, "channel", where)
    if channel != int(channel) or channel >= MOST_CHANNELS:
        raise UserError(f"{where}: `channel` must be a whole number from 0 to {MOST_CHANNELS - 1}.")
    return int(channel)


def _times(said: Mapping[str, Any], where: str) -> tuple[float, float | None]:
    """Start and end in the file, out of either pair of columns."""
    if {"offset", "duration"} & said.keys() and {"start", "end"} & said.keys():
        raise UserError(f"{where}: either `offset` and `duration` or `start` and `end`, not both.")
    numbers = {name: _number(said, name, where) for name in TIMES if name in said}
    start_s = numbers.get("offset", numbers.get("start", 0.0))
    end_s = numbers.get("end")
    if "duration" in numbers:
        end_s = start_s + numbers["duration"]
    if end_s is not None and end_s <= start_s:
        raise UserError(f"{where}: the segment ends where it begins, or before.")
    return start_s, end_s


def _number(said: Mapping[str, Any], column: str, where: str) -> float:
    """A number that is not negative, be it written as text."""
    try:
        number = float(said[column])
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(said[column], bool) or not math.isfinite(number) or number < 0:
        raise UserError(f"{where}: `{column}` must be a number from 0, not {said[column]!a}.")
    return number


def _rows(data: bytes, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if name.lower().endswith(".parquet"):
        yield from _parquet_rows(data, name)
        return
    is_csv = name.lower().endswith(".csv")
    lines: io.BytesIO | gzip.GzipFile = io.BytesIO(data)
    if name.lower().endswith(".gz"):
        lines = gzip.GzipFile(fileobj=lines)
    try:
        text = io.TextIOWrapper(lines, encoding="utf-8-sig", newline="" if is_csv else "\n")
        yield from _csv_rows(text, name) if is_csv else _json_rows(text, name)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{name} is not valid gzip: {error}.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text ({error.reason}).") from None


def _parquet_rows(data: bytes, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        table = pq.read_table(pa.BufferReader(data))
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{name} is not valid Parquet: {error}.") from None
    if not set(PATHS) & set(table.column_names):
        raise UserError(f"{name}: there must be a column `path`.")
    yield from enumerate(rows(table), 1)


def _csv_rows(text: IO[str], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    csv.field_size_limit(MOST_CHARACTERS)
    try:
        reader = csv.DictReader(text, strict=True)
        columns = reader.fieldnames or ()
        if not set(PATHS) & set(columns):
            raise UserError(f"{name}: the first line must name a column `path`.")
        if len(set(columns)) < len(columns):
            raise UserError(f"{name}: the first line names a column twice.")
        for row in reader:
            if None in row:
                raise UserError(
                    f"{name}, line {reader.line_num}: more fields than the first line has columns."
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{name} is not valid CSV: {error}.") from None


def _json_rows(text: IO[str], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.removesuffix("\n"), object_pairs_hook=_each_once)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name}, line {number} is not valid JSON: {error}.") from None
        if not isinstance(row, dict):
            raise UserError(f"{name}, line {number} must be a JSON object.")
        yield number, row


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; raises ValueError where it says something twice, of which one would be lost."""
    said = dict(pairs)
    if len(said) < len(pairs):
        raise ValueError("a key stands in it twice")
    return said
