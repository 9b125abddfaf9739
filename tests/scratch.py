"""Folders for what is made once a process, outside of any fixture."""

from __future__ import annotations

import atexit
import shutil
from pathlib import Path
from tempfile import mkdtemp


def scratch(name: str) -> Path:
    """A new folder, which goes with the process."""
    folder = Path(mkdtemp(prefix=f"gpa-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
