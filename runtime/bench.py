"""What `make bench` reports: figures of one run on one machine, and what they should be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """One line of `make bench`: `value` in `unit`, and what it should be at least (None: none)."""

    name: str
    value: float
    unit: str
    at_least: float | None = None

    def __str__(self) -> str:
        aim = f" (aim: at least {self.at_least:g})" if self.at_least is not None else ""
        return f"{self.name}: {self.value:.3g} {self.unit}{aim}"


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
