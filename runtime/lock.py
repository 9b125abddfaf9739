"""One run at a time on one OUT."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from gpa.runtime.errors import UserError, one_line
from gpa.runtime.storage import Store

NAME = "run.lock"
# An object store has no locks; a lease that nobody renewed for this long is taken over.
LEASE_S = 3600.0


@contextlib.contextmanager
def only_run(store: Store) -> Iterator[None]:
    """Hold OUT for this process; raises UserError if another run holds it.

    On a file system the kernel's lock goes with the process, however it dies. On an object
    store a lease is written and taken back, which can't see a run that was killed within the
    last hour: the message says how to clear it.
    """
    holder = json.dumps({"host": socket.gethostname(), "pid": os.getpid()})
    if not store.is_local:
        with _lease(store, holder):
            yield
        return
    path = Path(store.path(NAME))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise UserError(
            f"OUT {store.root} is not writable ({error.strerror}); choose another with --out."
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"Another run is at work on {store.root} ({file.read() or 'just starting'}); "
                "wait for it to end or choose another --out."
            ) from None
        file.truncate(0)
        # Who holds it is only for the message to others: a full disk is for the doctor to report.
        with contextlib.suppress(OSError):
            file.write(holder)
            file.flush()
        yield
        file.truncate(0)


@contextlib.contextmanager
def _lease(store: Store, holder: str) -> Iterator[None]:
    try:
        _take(store, holder)
    except UserError:
        raise
    except Exception as error:  # what clients of object stores raise has no common class
        raise UserError(
            f"OUT {store.url} can't be written ({type(error).__name__}: {one_line(error)}); check "
            "its address, endpoint and credentials, or choose another with --out."
        ) from None
    try:
        yield
    finally:
        store.remove(NAME)


def _take(store: Store, holder: str) -> None:
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
        lease = json.loads(store.read(NAME))
        if time.time() - lease["time"] < LEASE_S:
            raise UserError(
                f"Another run is at work on {store.url} ({lease['holder']}); wait for it to end, "
                f"or delete {store.path(NAME)} if it is gone."
            )
    store.write(NAME, json.dumps({"time": time.time(), "holder": holder}).encode())
