"""Threads that generate, and the hand-over of what they make to the server's event loop.

A stream is made by one thread from its first piece to its last, since torch keeps its modes per
thread. The thread waits when the listener is behind, so memory does not grow with the answer; it
stops at the next piece when the listener is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager, suppress
from typing import TypeVar

import anyio
from anyio import from_thread, to_thread
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

# Pieces that may be made before the listener has taken them.
AHEAD = 4

Piece = TypeVar("Piece")


class Workers:
    """`slots` streams at once; more wait in order of arrival."""

    def __init__(self, slots: int) -> None:
        self._slots = anyio.CapacityLimiter(slots)

    @property
    def working(self) -> int:
        """Streams that are being made now."""
        return self._slots.borrowed_tokens

    @contextmanager
    def stream(
        self, tasks: TaskGroup, start: Callable[[], Iterator[Piece]]
    ) -> Iterator[MemoryObjectReceiveStream[Piece]]:
        """Pieces of the iterator that `start` returns; both are called in a worker thread.

        Leaving the context closes the iterator; the task group waits until it is closed and its
        slot is free, and raises what it raised.
        """
        outbox, inbox = anyio.create_memory_object_stream[Piece](AHEAD)
        with outbox, inbox:
            tasks.start_soon(self._make, start, outbox)
            yield inbox

    async def _make(
        self, start: Callable[[], Iterator[Piece]], outbox: MemoryObjectSendStream[Piece]
    ) -> None:
        await to_thread.run_sync(_hand_over, start, outbox, limiter=self._slots)
        # Not where it failed: the listener would take that for the end.
        outbox.close()


def _hand_over(start: Callable[[], Iterator[Piece]], outbox: MemoryObjectSendStream[Piece]) -> None:
    """Runs in the worker thread."""
    with (
        closing(start()) as pieces,  # type: ignore[type-var] # generators can be closed
        suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, CancelledError),
    ):
        for piece in pieces:
            from_thread.run(outbox.send, piece)
