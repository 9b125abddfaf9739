"""What a person sees while a run works: a line a stage, with hours done, speed and time left."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

# Without a terminal to redraw, a stage says where it is this often.
QUIET_LINE_S = 60.0


def duration(seconds: float) -> str:
    """A length of audio as a person says it: "2.60 min", "1,250.00 h"."""
    return f"{seconds / 3600:,.2f} h" if seconds >= 3600 else f"{seconds / 60:.2f} min"


class _Speed(ProgressColumn):
    """Audio done, and how many times faster than it plays."""

    def render(self, task: Task) -> Text:
        speed = task.completed / task.elapsed if task.elapsed else 0.0
        done = f"{duration(task.completed)} of {duration(task.total or 0)}"
        return Text(f"{done}  {speed:5.1f}x real time")


class StageProgress:
    """Counts the audio of one stage."""

    def __init__(self, console: Console, name: str, total_s: float):
        self._console = console
        self._name = name
        self._total_s = total_s
        self._done_s = 0.0
        self._began = self._said = time.monotonic()
        self._bar: Progress | None = None

    @contextlib.contextmanager
    def shown(self) -> Iterator[StageProgress]:
        """Draw a bar on a terminal, lines elsewhere, until the stage ends."""
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn(f"  {self._name:<28}"),
                BarColumn(bar_width=24),
                _Speed(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.add_task(self._name, total=self._total_s)
            with self._bar:
                yield self
        else:
            yield self

    def advance(self, audio_s: float) -> None:
        """Another partition of `audio_s` seconds is done."""
        self._done_s += audio_s
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], audio_s)
        elif time.monotonic() - self._said > QUIET_LINE_S:
            self._said = time.monotonic()
            elapsed_s = self._said - self._began
            left_s = (self._total_s - self._done_s) * elapsed_s / max(self._done_s, 1e-9)
            self._console.print(
                f"  {self._name:<28} {duration(self._done_s)} of {duration(self._total_s)}, "
                f"{self._done_s / elapsed_s:.1f}x real time, about {left_s / 60:.0f} min left"
            )
