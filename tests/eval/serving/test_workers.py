"""Streams made in threads: bounded ahead of their listener, closed when it goes, in turn."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from threading import Event

import anyio
import pytest
from anyio import create_task_group, to_thread

from gpa.eval.serving.workers import AHEAD, Workers


class Endless:
    """An iterator without end, that says how far it got and whether it was closed."""

    def __init__(self) -> None:
        self.made = 0
        self.closed = Event()

    def __call__(self) -> Iterator[int]:
        try:
            for number in count():
                self.made += 1
                yield number
        finally:
            self.closed.set()


def test_pieces_arrive_in_order_and_the_slot_is_free_again():
    async def main():
        workers = Workers(1)
        async with create_task_group() as tasks:
            with workers.stream(tasks, lambda: (n * n for n in range(50))) as pieces:
                got = [piece async for piece in pieces]
        assert got == [n * n for n in range(50)]
        assert workers.working == 0

    anyio.run(main)


def test_no_more_is_made_than_fits_ahead_of_the_listener():
    async def main():
        source = Endless()
        async with create_task_group() as tasks:
            with Workers(1).stream(tasks, source) as pieces:
                for taken in range(100):
                    assert await anext(pieces) == taken
                    # Taken, ahead, and the one in the thread's hand.
                    assert source.made <= taken + 1 + AHEAD + 1

    anyio.run(main)


def test_a_listener_that_goes_closes_the_stream():
    async def main():
        workers, source = Workers(1), Endless()
        async with create_task_group() as tasks:
            with workers.stream(tasks, source) as pieces:
                await anext(pieces)
        assert source.closed.is_set()
        assert workers.working == 0

    anyio.run(main)


def test_a_cancelled_listener_closes_the_stream():
    async def main():
        workers, source = Workers(1), Endless()
        async with create_task_group() as tasks:
            with workers.stream(tasks, source) as pieces:
                await anext(pieces)
                tasks.cancel_scope.cancel()
                await anext(pieces)
        assert source.closed.is_set()
        assert workers.working == 0

    anyio.run(main)


def test_who_leaves_the_queue_never_starts():
    async def main():
        workers, first, second = Workers(1), Endless(), Endless()
        async with create_task_group() as tasks:
            with workers.stream(tasks, first) as pieces:
                await anext(pieces)
                async with create_task_group() as others:
                    with workers.stream(others, second):
                        others.cancel_scope.cancel()
                await anext(pieces)
        assert second.made == 0

    anyio.run(main)


def test_what_a_stream_raises_is_no_end_of_it():
    def broken() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    async def main():
        workers, got = Workers(1), []

        async def listen() -> None:
            async with create_task_group() as tasks:
                with workers.stream(tasks, broken) as pieces:
                    async for piece in pieces:
                        got.append(piece)
                    got.append("end")

        with pytest.raises(ExceptionGroup) as raised:
            await listen()
        assert isinstance(raised.value.exceptions[0], ZeroDivisionError)
        assert got == [1]
        assert workers.working == 0

    anyio.run(main)


def test_streams_at_once_are_as_many_as_the_slots():
    """Both slots hold a stream that waits for the other, so they must run at the same time."""

    async def main():
        here = [Event(), Event(), Event()]
        go_on = Event()

        def stream(number: int) -> Iterator[int]:
            here[number].set()
            assert go_on.wait(30)
            yield number

        async def listen(number: int) -> None:
            async with create_task_group() as tasks:
                with workers.stream(tasks, lambda: stream(number)) as pieces:
                    assert [piece async for piece in pieces] == [number]

        workers = Workers(2)
        async with create_task_group() as listeners:
            for number in range(3):
                listeners.start_soon(listen, number)
            await to_thread.run_sync(lambda: here[0].wait(30) and here[1].wait(30))
            assert workers.working == 2
            assert not here[2].is_set()
            go_on.set()

    anyio.run(main)
