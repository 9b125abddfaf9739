"""Files under one root, a folder or an object store, each of them there whole or not at all.

On a disk a file is written beside its place, synced and renamed; on object stores it is one PUT.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import fsspec

from gpa.runtime.errors import UserError, one_line

# How the name of a file ends while it is written.
PARTIAL = ".partial"
# Requests that an object store gets at once: clients hold some hundred connections at most.
FETCHED_TOGETHER = 64

Item = TypeVar("Item")


def filesystem_of(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system that a URL or a local path names, and the path in it.

    Only what holds "://" is a URL. A "::" chains file systems where fsspec's chains begin, as in
    `simplecache::s3://`, and is part of a name elsewhere. Raises ValueError for a protocol that
    nobody knows, ImportError where its package is not installed.
    """
    protocol, separator, _ = url.partition("://")
    if "::" in protocol and separator:
        return fsspec.core.url_to_fs(url)
    kind = fsspec.get_filesystem_class(protocol if separator else "file")
    options = kind._get_kwargs_from_urls(url) if separator else {}
    return kind(**options), str(kind._strip_protocol(url))


class Store:
    """Files under one root: a folder, or any URL that fsspec knows."""

    def __init__(self, url: str):
        self.url = url
        try:
            self.filesystem, root = filesystem_of(url)
        except (ValueError, ImportError) as error:
            raise UserError(f"{url} is no place that fsspec can write to: {error}.") from None
        self.root = str(root).rstrip("/") or "/"
        protocol = self.filesystem.protocol
        self.is_local = "file" in ((protocol,) if isinstance(protocol, str) else protocol)
        self._fetched: dict[str, bytes] = {}

    def path(self, name: str) -> str:
        """The place of `name` (slashes between folders), as the file system calls it."""
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return bool(self.filesystem.exists(self.path(name)))

    def read(self, name: str) -> bytes:
        """The whole of a file; raises FileNotFoundError, and UserError as `reading` does."""
        if name in self._fetched:
            return self._fetched[name]
        with self.reading(name):
            return self.filesystem.cat_file(self.path(name))

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Turn what storage raises, but for a file or folder that is not there, into a UserError.

        So that no stage takes it for the fault of a recording.
        """
        try:
            yield
        except (UserError, FileNotFoundError, NotADirectoryError):
            raise
        except Exception as error:  # what clients of object stores raise has no common class
            raise UserError(
                f"{self.path(name)} can't be read ({type(error).__name__}: {one_line(error)}); "
                "when it can, start the same command again: all that is done stays."
            ) from error

    def ahead(
        self, items: Iterable[Item], names: Callable[[Item], Iterable[str]]
    ) -> Iterator[Item]:
        """The items in order; the files that `names` says will be read for each are on their way.

        An object store takes tens of milliseconds for one request and hardly longer for a hundred
        at once, so the files of some items are fetched together; where one is not there, reading
        says so. On a disk nothing is fetched. Files that change meanwhile must not be among them.
        """
        if self.is_local:
            yield from items
            return
        waiting: list[Item] = []
        wanted: list[str] = []
        try:
            for item in items:
                waiting.append(item)
                wanted += names(item)
                if len(wanted) >= FETCHED_TOGETHER:
                    self._fetch(wanted)
                    yield from waiting
                    waiting, wanted = [], []
            self._fetch(wanted)
            yield from waiting
        finally:
            self._fetched = {}

    def _fetch(self, names: Sequence[str]) -> None:
        # `cat` takes paths for patterns; ranges without limits are whole files.
        found = self.filesystem.cat_ranges([self.path(name) for name in names], None, None)
        self._fetched = {
            name: data for name, data in zip(names, found, strict=True) if isinstance(data, bytes)
        }

    def write_all(self, files: Mapping[str, bytes]) -> None:
        """Put files in place as `write` does, in no order; an object store takes them together."""
        if self.is_local:
            for name, data in files.items():
                self.write(name, data)
        else:
            self.filesystem.pipe({self.path(name): data for name, data in files.items()})

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place, whole or not at all; raises UserError where the disk is full."""
        try:
            self._write(name, data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(
                f"There is no room left in {self.url} ({error.strerror}); make some and start "
                "the same command again: all that is done stays."
            ) from None

    def _write(self, name: str, data: bytes) -> None:
        if not self.is_local:
            self.filesystem.pipe_file(self.path(name), data)
            return
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}{PARTIAL}")
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)

    def names(self, folder: str) -> list[str]:
        """Names of the files directly in a folder, sorted; empty where there is no folder."""
        if not self.is_local:
            return self._listed(folder, "file")
        try:
            # fsspec asks for the size and date of each file, which takes ten times as long.
            with os.scandir(self.path(folder)) as entries:
                names = [entry.name for entry in entries if entry.is_file()]
        except FileNotFoundError:
            return []
        return sorted(name for name in names if not name.endswith(PARTIAL))

    def sweep(self, folder: str) -> None:
        """Delete what writers that were killed left behind in a folder."""
        if self.is_local:
            for partial in Path(self.path(folder)).glob(f".*{PARTIAL}"):
                partial.unlink(missing_ok=True)

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in a folder, sorted."""
        return self._listed(folder, "directory")

    def _listed(self, folder: str, kind: str) -> list[str]:
        try:
            found = self.filesystem.ls(self.path(folder), detail=True, refresh=True)
        except FileNotFoundError:
            return []
        names = [each["name"].rstrip("/") for each in found if each["type"] == kind]
        return sorted(name.rsplit("/", 1)[-1] for name in names)

    def remove(self, name: str) -> None:
        """Delete a file or a folder with all in it; nothing happens where there is none."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.rm(self.path(name), recursive=True)

    def remove_all(self, names: Sequence[str]) -> None:
        """Delete files that are there; an object store is asked once for many."""
        if self.is_local:
            for name in names:
                Path(self.path(name)).unlink(missing_ok=True)
        elif names:
            self.filesystem.rm([self.path(name) for name in names])

    def open(self, name: str) -> io.BufferedIOBase:
        """A file to read from, with seek."""
        return self.filesystem.open(self.path(name), "rb")


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
