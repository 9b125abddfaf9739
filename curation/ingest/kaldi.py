"""A Kaldi data folder as rows of a manifest: `wav.scp`, and what lies beside it.

`segments`, `text`, `utt2spk` and `utt2lang` are read where they are there. Paths are absolute, or
relative to the folder. A pipe is a command and never run: its recordings are rows that say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gpa.runtime.errors import UserError

WAV, SEGMENTS = "wav.scp", "segments"
# Columns by the tables that give them.
TABLES = {"text": "text", "utt2spk": "speaker", "utt2lang": "language"}


def rows_of(
    tables: Mapping[str, bytes], folder: str
) -> Iterator[tuple[str, int, dict[str, Any], str | None]]:
    """Rows of a manifest with the table and line that they stand in, and why one can't be read.

    `tables` are the files by name. Raises UserError for a line that is malformed, and for one
    that contradicts another.
    """
    wav = _table(tables, WAV, folder)
    about: dict[str, dict[str, str]] = {}
    for name, column in TABLES.items():
        for key, (_, value) in _table(tables, name, folder).items():
            if value:
                about.setdefault(key, {})[column] = value
    if SEGMENTS not in tables:
        for key, (line, path) in wav.items():
            yield WAV, line, {"id": key, "path": path, **about.get(key, {})}, _refused(path)
        return
    for key, (line, value) in _table(tables, SEGMENTS, folder).items():
        fields = value.split()
        if len(fields) != 3 or fields[0] not in wav:
            raise UserError(
                f"{folder}/{SEGMENTS}, line {line}: not <utterance> <recording> <start> <end> with "
                f"a recording of {WAV}."
            )
        path = wav[fields[0]][1]
        row = {"id": key, "path": path, "start": fields[1], **about.get(key, {})}
        if fields[2] != "-1":  # to the recording's end
            row["end"] = fields[2]
        yield SEGMENTS, line, row, _refused(path)


def _refused(path: str) -> str | None:
    """Why what `wav.scp` has is not read, None for a file."""
    if path.endswith("|") or path.startswith("|"):
        return "it is a command, and none is run: write its output to a file"
    if ".ark:" in path:
        return "it lies in an ark, which is not read: write it to a file"
    return None


def _table(tables: Mapping[str, bytes], name: str, folder: str) -> dict[str, tuple[int, str]]:
    """The rest of each line, with its number, by the line's first word."""
    found: dict[str, tuple[int, str]] = {}
    try:
        lines = tables.get(name, b"").decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{folder}/{name} is not UTF-8 text ({error.reason}).") from None
    for number, line in enumerate(lines, 1):
        key, *value = line.split(maxsplit=1) or [""]
        if not key:
            continue
        if key in found:
            raise UserError(
                f"{folder}/{name}, line {number}: {key!r} stands in line {found[key][0]} already."
            )
        found[key] = number, (value or [""])[0].strip()
    return found
