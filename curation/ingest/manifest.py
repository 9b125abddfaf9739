"""Manifests: JSONL, CSV or Parquet with a row for each recording, and what their columns mean.

A row is a whole file or, by `offset` and `duration` or `start` and `end` (seconds), a segment of
one. What a manifest says beyond what decides is kept as it is, and goes into KEY.json as `given`.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gpa.curation.text.languages import folded
from gpa.runtime.errors import UserError
from gpa.runtime.stage import rows

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
# The second is NeMo's.
PATHS = ("path", "audio_filepath")
LANGUAGES = ("language", "lang")
TIMES = ("offset", "duration", "start", "end")
# Kept as given, and read: `gpa.curation.package`.
READ_LATER = ("text", "speaker", "licence")
DECIDE = frozenset({*PATHS, *LANGUAGES, *TIMES, "channel"})
# Characters in a field of CSV; the library's own limit is 131,072.
MOST_CHARACTERS = 2**31 - 1


@dataclass(frozen=True)
class Entry:
    """One row of a manifest; times are seconds in the file."""

    line: int
    path: str
    language: str | None = None
    start_s: float = 0.0
    end_s: float | None = None  # None: where the file ends
    channel: int | None = None  # from 0; None: all of them
    given: str = "{}"  # JSON of the other columns


def read_manifest(data: bytes, name: str) -> list[Entry]:
    """The rows of a manifest; `name` says by its ending of which kind it is.

    Raises UserError with the line for what can't be read, means nothing, or contradicts itself.
    """
    entries = [_entry(row, f"{name}, line {line}", line) for line, row in _rows(data, name)]
    seen: dict[tuple, int] = {}
    for entry in entries:
        part = (entry.path, entry.start_s, entry.end_s, entry.channel)
        if part in seen:
            raise UserError(
                f"{name}, line {entry.line}: {entry.path!r} stands in line {seen[part]} already, "
                "with the same segment; take one of them out."
            )
        seen[part] = entry.line
    return entries


def unread_columns(entries: list[Entry]) -> list[str]:
    """Columns of a manifest that mean nothing to us, sorted; they are kept as given."""
    return sorted({name for entry in entries for name in json.loads(entry.given)} - {*READ_LATER})


def _entry(row: Mapping[str, Any], where: str, line: int) -> Entry:
    said = {name: value for name, value in row.items() if value is not None and value != ""}
    path = next((said[column] for column in PATHS if column in said), None)
    if not isinstance(path, str) or "\0" in path:
        raise UserError(f"{where}: no `path` that names an audio file.")
    try:
        given = {
            name: said[name] for name in said if name not in DECIDE and said[name] == said[name]
        }
        kept = json.dumps(given, ensure_ascii=False, sort_keys=True, allow_nan=False, default=str)
        (path + kept).encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: half of a character (a lone surrogate).") from None
    except ValueError:
        raise UserError(f"{where}: an infinite number, which JSON has not.") from None
    start_s, end_s = _times(said, where)
    return Entry(line, path, _language(said, where), start_s, end_s, _channel(said, where), kept)


def _language(said: Mapping[str, Any], where: str) -> str | None:
    code = next((said[column] for column in LANGUAGES if column in said), None)
    if code is None:
        return None
    try:
        return folded(code)
    except (ValueError, AttributeError):
        shown = ascii(code)
        raise UserError(
            f'{where}: `language` must be a code such as "en" or "en-US", not {shown}.'
        ) from None


def _channel(said: Mapping[str, Any], where: str) -> int | None:
    if "channel" not in said:
        return None
    channel = _number(said, "channel", where)
    if channel != int(channel):
        raise UserError(f"{where}: `channel` must be a whole number from 0.")
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
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 text ({error.reason}).") from None
    yield from _csv_rows(text, name) if name.lower().endswith(".csv") else _json_rows(text, name)


def _parquet_rows(data: bytes, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        table = pq.read_table(pa.BufferReader(data))
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{name} is not valid Parquet: {error}.") from None
    if not set(PATHS) & set(table.column_names):
        raise UserError(f"{name}: there must be a column `path`.")
    yield from enumerate(rows(table), 1)


def _csv_rows(text: str, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    csv.field_size_limit(MOST_CHARACTERS)
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
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


def _json_rows(text: str, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name}, line {number} is not valid JSON: {error}.") from None
        if not isinstance(row, dict):
            raise UserError(f"{name}, line {number} must be a JSON object.")
        yield number, row
