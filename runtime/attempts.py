"""Finds the recording that kills its worker, and takes it out of the run by name.

A segfault or the kernel's out-of-memory killer gives no exception to catch: only a worker that
is gone and a partition that starts again. So a partition writes down that it has begun. Finding
that note, its next start is careful and writes down each recording too; a second death is then
pinned on one recording, and the third start leaves that one out.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence

from gpa.runtime.storage import Store

FOLDER = "attempts"
# Deaths in one run on one partition with no recording named, after which it is given up: a model
# that does not fit into memory kills each worker that loads it, without end.
MAX_UNNAMED_DEATHS = 4


@contextlib.contextmanager
def forgotten(store: Store) -> Iterator[None]:
    """Drop all notes when a run ends, or when a person stops it: then no recording is to blame.

    Where the run itself is killed or fails, they stay.
    """
    try:
        yield
    except KeyboardInterrupt:
        store.remove(FOLDER)
        raise
    store.remove(FOLDER)


class PartitionAttempts:
    """The attempts at one partition by one stage; see `gpa.runtime.stage.Attempts`.

    `run_id` tells a worker's death from the death of the whole run, which says nothing about
    the recording at hand: a run that was killed leaves a note too, but the next run only
    becomes careful by it. A recording is quarantined when it was named by the second death in
    one run, or by two deaths in any runs (where it takes the whole machine with it each time).
    """

    def __init__(self, store: Store, stage: str, partition: str, run_id: str):
        self._store = store
        self._note = f"{FOLDER}/{stage}/{partition}.json"
        self._run_id = run_id
        self._deaths: list[dict] = self._read()
        self.quarantined = frozenset(_guilty(self._deaths))
        self.careful = bool(self._deaths)
        self.deaths = len(self._deaths)
        unnamed = [d for d in self._deaths if d["run"] == run_id and len(d["recordings"]) != 1]
        self.hopeless = len(unnamed) >= MAX_UNNAMED_DEATHS
        self._write(())

    def _read(self) -> list[dict]:
        try:
            return json.loads(self._store.read(self._note))
        except (FileNotFoundError, ValueError):  # the latter: not ours, or damaged
            return []

    def _write(self, recordings: Sequence[str]) -> None:
        # Whatever is open when the note is read again was open when somebody died.
        note = [*self._deaths, {"run": self._run_id, "recordings": list(recordings)}]
        self._store.write(self._note, json.dumps(note).encode())

    @contextlib.contextmanager
    def on(self, recording_ids: Sequence[str]) -> Iterator[None]:
        """Note the recordings that are being worked on, once there has been a death."""
        if self.careful:
            self._write(recording_ids)
        yield
        if self.careful:
            self._write(())

    def finished(self) -> None:
        """The partition's artifact is committed, or its failure reported: forget."""
        self._store.remove(self._note)


def _guilty(deaths: Sequence[dict]) -> set[str]:
    """Recordings to leave out, by the deaths so far, oldest first."""
    guilty: set[str] = set()
    named: list[str] = []
    for index, death in enumerate(deaths):
        if len(death["recordings"]) != 1:
            continue
        recording = death["recordings"][0]
        died_before_in_this_run = any(d["run"] == death["run"] for d in deaths[:index])
        if died_before_in_this_run or recording in named:
            guilty.add(recording)
        named.append(recording)
    return guilty
