"""`run.json`: what made an OUT, and how long it took.

Versions, machine and times are kept here and never in artifacts, which stay the same bytes from
run to run.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from gpa.runtime.errors import UserError
from gpa.runtime.execution import Outcome
from gpa.runtime.storage import Store

NAME = "run.json"
# Version of the layout of OUT; a later program refuses what it does not understand.
LAYOUT_VERSION = 2
LIBRARIES = ("ray", "torch", "numpy", "pyarrow", "soundfile", "soxr", "av", "webdataset")

# What workers spent on a stage: seconds that loading models took; without those, seconds by the
# clock and of the CPU; seconds of audio; the highest memory of one worker; deaths of workers that
# were followed by another try.
NO_WORK = {
    "partitions": 0,
    "load_s": 0.0,
    "worker_s": 0.0,
    "cpu_s": 0.0,
    "audio_s": 0.0,
    "peak_mb": 0.0,
    "retries": 0,
}


class RunRecord:
    """The record of one run, saved after every stage; work done by earlier runs adds up in it."""

    def __init__(self, store: Store, command: Mapping[str, Any]):
        self._store = store
        before = read(store) or {}
        self._work: dict[str, dict[str, float]] = before.get("work", {})
        self.content: dict[str, Any] = {
            "layout_version": LAYOUT_VERSION,
            "finished": False,
            # Whether files of artifacts may have been deleted, as nothing needs them.
            "pruned": before.get("pruned", False),
            **command,
            "started_at": _now(),
            "versions": _versions(),
            "machine": {
                "host": platform.node(),
                "system": platform.platform(),
                "cpus": os.cpu_count(),
                "python": sys.version.split()[0],
            },
            "stages": {},
            "work": self._work,
            "earlier_runs": [
                *before.get("earlier_runs", []),
                *([_short(before)] if before else []),
            ],
        }

    def add_work(self, stage: str, fingerprint: str, outcome: Outcome) -> None:
        """Count a worker's effort on one partition, whichever run it falls in."""
        entry = self._work[f"{stage}/{fingerprint}"] = self.work(stage, fingerprint)
        entry["partitions"] += 1
        entry["worker_s"] += outcome.wall_s
        for name in ("load_s", "cpu_s", "audio_s", "retries"):
            entry[name] += getattr(outcome, name)
        entry["peak_mb"] = max(entry["peak_mb"], outcome.peak_mb)

    def work(self, stage: str, fingerprint: str) -> dict[str, float]:
        """All the effort that workers spent on a stage's artifacts, over all runs."""
        return {**NO_WORK, **self._work.get(f"{stage}/{fingerprint}", {})}

    def save(self) -> None:
        write(self._store, self.content)

    def finish(self) -> None:
        self.content.update(finished=True, finished_at=_now())
        self.save()


def write(store: Store, content: Mapping[str, Any]) -> None:
    """Put a record in place."""
    store.write(NAME, json.dumps(content, indent=1, ensure_ascii=False).encode())


def read(store: Store) -> dict[str, Any] | None:
    """The record of the last run on an OUT, or None where there is none that can be read."""
    try:
        return json.loads(store.read(NAME))
    except (FileNotFoundError, ValueError):
        return None


def require(store: Store, finished: bool = True) -> dict[str, Any]:
    """The record of a run that this program can read.

    Raises UserError where OUT holds no run, one of another layout, or, if `finished` is asked
    for, one that is still to be finished.
    """
    content = read(store)
    if content is None:
        raise UserError(f"{store.url} holds no run; make one with `gpa curate --out {store.url}`.")
    if content.get("layout_version") != LAYOUT_VERSION:
        raise UserError(
            f"{store.url} has layout {content.get('layout_version')}, this program reads "
            f"{LAYOUT_VERSION}; curate into a new folder."
        )
    if finished and not content.get("finished"):
        raise UserError(f"The run in {store.url} is not finished; `gpa curate` goes on with it.")
    return content


def _short(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: record.get(key) for key in ("started_at", "finished_at", "finished", "pipeline")}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _versions() -> dict[str, str]:
    versions = {"gpa": metadata.version("gpa")}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return versions
