"""A file system that refuses, as object stores do: `broken://` always, `moody://` when told to.

`moody://PATH` is the local file PATH, unless a file `PATH.refused` lies beside it: then opening it
raises PermissionError; unless a file `PATH.reset` does: then reading ends in the middle with
ConnectionResetError. So tests and the workers of Ray see the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem


class Broken(fsspec.AbstractFileSystem):
    """Nobody answers."""

    protocol = "broken"

    def info(self, path: str, **kwargs: Any) -> dict:
        raise ConnectionError("refused")


class _Reset:
    """A file whose connection is lost behind its first bytes."""

    def __init__(self, file: Any):
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if self._file.tell() >= 64:
            raise ConnectionResetError(104, "Connection reset by peer")
        return self._file.read(min(size, 64) if size >= 0 else 64)

    def __enter__(self) -> _Reset:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Moody(LocalFileSystem):
    """Local files that may be refused."""

    protocol = "moody"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(str(path).removeprefix("moody://")))

    def unstrip_protocol(self, name: str) -> str:
        return f"moody://{name}"

    def cat_file(self, path: str, start: Any = None, end: Any = None, **kwargs: Any) -> bytes:
        with self.open(path) as file:
            pieces = iter(lambda: file.read(1 << 16), b"")
            return b"".join(pieces)

    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if Path(f"{path}.refused").exists():
            raise PermissionError(13, "Permission denied")
        file = super().open(path, mode, **kwargs)
        return _Reset(file) if Path(f"{path}.reset").exists() else file


def register() -> None:
    """Make both known to fsspec in this process."""
    for kind in (Broken, Moody):
        fsspec.register_implementation(kind.protocol, kind, clobber=True)
