"""Which parts of a file are recordings: segments of it, its audio streams, its channels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from gpa.curation.ingest.files import RawFile
from gpa.runtime.config import Config

# A segment that ends so near the file's end, or behind it, ends where the file does: what names it
# is rounded.
ROUNDING_S = 0.05


class IngestConfig(Config):
    """What goes in, and in what portions."""

    partition_minutes: float = Field(10.0, gt=0)  # of audio; a longer recording is one alone
    min_duration_s: float = Field(0.1, ge=0)
    # Of several channels: "mix" them down, take the "first", "split" them into recordings of their
    # own, or decide by measurement ("auto"): a call is split, time code and dead channels left out.
    channels: Literal["auto", "mix", "first", "split"] = "auto"
    # Which of several audio streams, from 0; without it the first that carries sound.
    stream: int | None = Field(None, ge=0)
    allow_outside: bool = False  # a manifest may name files outside its own folder


def parts(
    files: Sequence[RawFile], opened_files: Iterator[dict], config: IngestConfig
) -> Iterator[tuple[RawFile, dict[str, Any]]]:
    """Each file with what was found in it, once for each channel that is a recording of its own.

    And once for each audio stream `beside` the one that is taken.
    """
    told: set[str] = set()
    for file, found in zip(files, opened_files, strict=True):
        streams = found.pop("streams")
        if not streams:
            yield file, {**found, "duration_s": None, "beside": None}
            continue
        taken = _stream(streams, config)
        for channel in _channels(file, streams[taken], config):
            yield (
                file if channel == file.channel else replace(file, channel=channel),
                {**found, **streams[taken], "stream": taken, "beside": None},
            )
        if len(streams) > 1 and file.uri not in told:
            told.add(file.uri)
            whole = replace(file, start_s=0.0, end_s=None, channel=None)
            for number, stream in enumerate(streams):
                if number != taken:
                    yield whole, {**found, **stream, "stream": number, "beside": taken}


def _stream(streams: Sequence[Mapping[str, Any]], config: IngestConfig) -> int:
    """The audio stream to take: as configured, else the first with sound, else with samples."""
    if config.stream is not None and config.stream < len(streams):
        return config.stream
    ranks = [(stream["heard"], stream["duration_s"] > 0) for stream in streams]
    return ranks.index(max(ranks))


def _channels(
    file: RawFile, stream: Mapping[str, Any], config: IngestConfig
) -> Sequence[int | None]:
    """Which channels are recordings of their own; None is all of them, mixed down."""
    if file.channel is not None:
        return [file.channel]
    if stream["channels"] < 2 or config.channels == "mix":
        return [None]
    if config.channels == "first":
        return [0]
    if config.channels == "split":
        return range(stream["channels"])
    live = stream["live_channels"]
    return live if stream["is_call"] or len(live) == 1 else [None]


def of_channel(file: RawFile, found: Mapping[str, Any]) -> str | None:
    """What is said of a recording that is one of several channels."""
    if file.channel is None or found["channels"] < 2:
        return None
    silent = sorted(set(range(found["channels"])) - set(found["live_channels"]))
    left_out = f"; without speech: {', '.join(map(str, silent))}" if silent else ""
    return f"channel {file.channel} of {found['channels']}{left_out}"


def key_of(file: RawFile, found: Mapping[str, Any]) -> str:
    """What a recording is called, and all copies of it: by its bytes, and which part of them."""
    sha256 = found["sha256"] or hashlib.sha256(file.path.encode()).hexdigest()
    return f"{sha256[:16]}{part(file, found)['key']}"


def part(file: RawFile, found: Mapping[str, Any]) -> dict[str, Any]:
    """Which part of its file a recording is: where it ends, its seconds, and how its key says so.

    What covers the whole file is the file, whatever a manifest says of its duration.
    """
    file_s = found["duration_s"] or 0.0
    end_s = file.end_s if file.end_s is not None and file.end_s < file_s - ROUNDING_S else None
    key = ""
    if file.start_s or end_s is not None:
        key = f"-{round(file.start_s * 1000):09d}"
        key += f"-{round((file_s if end_s is None else end_s) * 1000):09d}"
    if file.channel is not None:
        key += f"-c{file.channel}"
    if found["beside"] is not None:
        key += f"-a{found['stream']}"
    duration_s = max(0.0, (file_s if end_s is None else end_s) - file.start_s)
    return {"end_s": end_s, "duration_s": duration_s, "key": key}
