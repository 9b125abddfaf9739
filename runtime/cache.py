"""Files that are derived or drawn once and kept in the user's cache folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def user_cache() -> Path:
    """Where the user's caches lie, by the XDG rule."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpa"


def build_once(name: str, build: Callable[[Path], None], root: Path | None = None) -> Path:
    """The folder `name` in the user's cache, made by `build(folder)` where it does not exist.

    It is built beside its place and renamed, so a folder that exists is whole, and processes
    that build it at the same time end with one of their equal results. Whatever the content
    depends on belongs in `name`.
    """
    root = root or user_cache()
    target = root / name
    if target.is_dir():
        return target
    root.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=root, prefix=f".{name}-"))
    try:
        build(unfinished)
        unfinished.chmod(0o755)
        unfinished.rename(target)
    except OSError:
        # Another process renamed its folder into place first; any other failure is real.
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target
