"""Mines: faults that go off inside a worker when a stage comes to a recording.

A mine is a file, `MINES/<stage>/<recording id>`, that says what happens there. A worker takes it
up as it goes off, unless it is one that stays; so a test lays a mine, starts the real command, and
knows to the recording where the fault strikes, without a clock.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from gpa.runtime.stage import Artifact, Attempts, Stage
from tests.limits import address_space_bytes

# Longer than the header of a tar or Parquet file, shorter than any audio.
CUT_BYTES = 1000


class Mined(Stage):
    """A stage with mines in it; everything else is the stage's own."""

    def __init__(self, stage: Stage, mines: Path):
        super().__init__(stage.name, stage.config, stage.inputs)
        self._stage = stage
        self.step = stage.step  # type: ignore[misc]
        self.tables_only = stage.tables_only  # type: ignore[misc]
        self.adapters = stage.adapters  # type: ignore[method-assign]
        self.load = stage.load  # type: ignore[method-assign]
        self.fingerprint = stage.fingerprint  # type: ignore[method-assign]
        self._folder = mines / stage.name

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        return self._stage.process(partition, inputs, _MinedAttempts(attempts, self._folder))


class _MinedAttempts:
    """Goes off where a stage says that it works on a recording."""

    def __init__(self, attempts: Attempts, folder: Path):
        self._attempts = attempts
        self._folder = folder
        self.quarantined = attempts.quarantined
        self.careful = attempts.careful

    @contextlib.contextmanager
    def on(self, recording_ids: Sequence[str]) -> Iterator[None]:
        with self._attempts.on(recording_ids):
            for recording in recording_ids:
                if (mine := self._folder / recording).exists():
                    _go_off(mine)
            yield


def _go_off(mine: Path) -> None:
    kind, _, stays = mine.read_text().partition(" ")
    if not stays:
        mine.unlink()
    FAULTS[kind](mine)


def _segfault(_: Path) -> None:
    ctypes.string_at(0)


def _out_of_memory(_: Path) -> None:
    """A limit of the kernel's on this process, and an allocation beyond it."""
    limit = address_space_bytes() + (64 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    np.ones(1 << 30, np.uint8)


def _cut_write(_: Path) -> None:
    """The kernel kills this process in the middle of its next write to a file."""
    # Python ignores this signal, and sets it only in the main thread, where no stage runs.
    ctypes.CDLL(None).signal(signal.SIGXFSZ, None)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (CUT_BYTES, CUT_BYTES))


def _hold(mine: Path) -> None:
    """Say which process has come here, and wait until the test takes the word back."""
    gate = mine.with_suffix(".gate")
    os.mkfifo(gate)
    beside = mine.with_suffix(".partial")
    beside.write_text(str(os.getpid()))
    beside.rename(mine.with_suffix(".reached"))
    gate.read_bytes()


FAULTS = {
    "segfault": _segfault,
    "out-of-memory": _out_of_memory,
    "cut-write": _cut_write,
    "hold": _hold,
}
