"""Limits of the kernel's on this process."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path


def address_space_bytes() -> int:
    """What this process has now, most of it never touched."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@contextlib.contextmanager
def limited(more_bytes: int, seconds: int) -> Iterator[None]:
    """A limit on memory beside what is there, and on time; MemoryError or TimeoutError beyond."""

    def late(*_: object) -> None:
        raise TimeoutError(f"it took more than {seconds} s")

    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes() + more_bytes, before[1]))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGALRM, handler)
