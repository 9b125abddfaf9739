"""What `make bench` reports: figures of one run on one machine, and what they should be."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measurement:
    """One line of `make bench`: `value` in `unit`, and what it should be (None: it is only told)."""

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        aims = [
            f"at {bound} {aim:g}"
            for bound, aim in (("least", self.at_least), ("most", self.at_most))
            if aim is not None
        ]
        aim = f" (aim: {' and '.join(aims)})" if aims else ""
        return f"{self.name}: {self.value:.3g} {self.unit}{aim}"


def highest_mb() -> float:
    """The memory of this program at its highest, MB.

    Not `getrusage`, which counts what the process was before it became this program.
    """
    return memory_mb("VmHWM")


def memory_mb(kind: str) -> float:
    """What proc_pid_status(5) says of this process' memory under a name, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = (line.split()[1] for line in lines if line.startswith(f"{kind}:"))
    return int(found) / 1024


def alone(work: Callable[..., object], *arguments: object) -> tuple[float, float]:
    """Work in a process of its own: seconds of its CPU, and MB at its highest above imports."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_spent, (work, arguments))


def _spent(work: Callable[..., object], arguments: tuple[object, ...]) -> tuple[float, float]:
    before_mb, began = highest_mb(), time.process_time()
    work(*arguments)
    return time.process_time() - began, highest_mb() - before_mb


def least_cpu_s(*works: Callable[[], object]) -> list[float]:
    """The least CPU seconds of each, in turn, in three rounds: other processes only add to it."""
    least = [float("inf")] * len(works)
    for _ in range(3):
        for position, work in enumerate(works):
            start = time.process_time()
            work()
            least[position] = min(least[position], time.process_time() - start)
    return least


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Hold torch to one thread, as a worker of a job is."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
