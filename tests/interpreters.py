"""Real interpreters beside the one that runs the tests, made of it and a few other packages."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest


def interpreter(folder: Path, *requirements: str, sees: str = "everything") -> Path:
    """The `python` of a new venv in `folder`, with `requirements` of its own.

    Beyond them it sees all packages of this interpreter, or "packages", which leaves out what is
    installed for editing (gpa itself), or "nothing". Skips the test where PyPI can't be reached.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    (packages,) = (folder / "lib").glob("python*/site-packages")
    for requirement in requirements:
        installed = subprocess.run(
            [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps",
             "--target", str(packages), requirement],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if installed.returncode:
            last = installed.stderr.strip().splitlines()[-1:]
            pytest.skip(f"pip can't install {requirement} here: {' '.join(last)}")
    if sees == "everything":
        here = sysconfig.get_paths()["purelib"]
        (packages / "borrowed.pth").write_text(f"import site; site.addsitedir({here!r})\n")
        # The data wheels that `make setup` unpacked beside them.
        (folder / "share").mkdir()
        (folder / "share" / "gpa-wheels").symlink_to(Path(sys.prefix) / "share" / "gpa-wheels")
    elif sees == "packages":
        import ray

        (packages / "borrowed.pth").write_text(f"{Path(ray.__file__).parents[1]}\n")
    return python
