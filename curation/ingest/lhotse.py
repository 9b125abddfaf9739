"""Lhotse's cuts and recordings, line by line, as rows of a manifest of our own.

What is not one channel or all of one stored file is no recording: mixed and padded cuts, audio of
several files, transforms that Lhotse would apply, and commands, which are never run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What of a supervision goes into columns of that name.
SAID = ("text", "speaker", "language", "gender")


def is_lhotse(row: Mapping[str, Any]) -> bool:
    """Whether a line is a cut or a recording: no manifest of ours has such columns."""
    return "sources" in row or "recording" in row or str(row.get("type", "")).endswith("Cut")


def as_row(line: Mapping[str, Any]) -> dict[str, Any]:
    """A cut or a recording as a row: `path`, its segment, and what supervisions say.

    A cut with several supervisions keeps them as they are, since no one text or speaker is its.
    Raises ValueError that says why it can't be read.
    """
    recording = line if "sources" in line else line.get("recording")
    if not isinstance(recording, Mapping):
        raise ValueError(f"it is a {line.get('type', 'cut')}, not a part of one recording")
    row = {"id": line.get("id"), "path": _path(recording)}
    if recording is line:
        return row
    row |= {"start": line["start"], "end": line["start"] + line["duration"]}
    channel = line.get("channel")
    if isinstance(channel, int) and len(recording.get("channel_ids") or [0]) > 1:
        row["channel"] = channel
    return row | said_of(line)


def said_of(cut: Mapping[str, Any]) -> dict[str, Any]:
    """What the supervisions of a cut say of it."""
    supervisions = cut.get("supervisions") or []
    if len(supervisions) != 1:
        return {"supervisions": supervisions} if supervisions else {}
    (one,) = supervisions
    return {**(one.get("custom") or {}), **{name: one[name] for name in SAID if one.get(name)}}


def _path(recording: Mapping[str, Any]) -> str:
    """The one file of a recording."""
    sources = recording.get("sources") or []
    if len(sources) != 1:
        raise ValueError(f"its audio lies in {len(sources)} files, and one is taken")
    if recording.get("transforms"):
        raise ValueError("its recording is to be transformed: store it so")
    kind, source = sources[0].get("type"), sources[0].get("source")
    if kind not in ("file", "url") or not isinstance(source, str):
        raise ValueError(f"its audio is a {kind}, not a file")
    return source
