"""Two runs never work on one OUT."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gpa.runtime.errors import UserError
from gpa.runtime.lock import only_run
from gpa.runtime.storage import Store


@pytest.mark.parametrize("place", ["local", "memory"])
def test_a_second_run_is_refused_and_the_next_one_is_not(tmp_path: Path, place: str):
    url = str(tmp_path / "out") if place == "local" else f"memory://lock-{tmp_path.name}"
    with (
        only_run(Store(url)),
        pytest.raises(UserError, match="Another run is at work"),
        only_run(Store(url)),
    ):
        pass
    with only_run(Store(url)):
        pass


def test_a_killed_run_leaves_no_lock(tmp_path: Path):
    code = (
        "import os, sys; from gpa.runtime.lock import only_run; "
        "from gpa.runtime.storage import Store\n"
        "with only_run(Store(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -9
    with only_run(Store(str(tmp_path))):
        pass


def test_an_out_below_a_file_is_a_sentence(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match="not writable"),
        only_run(Store(str(tmp_path / "file/out"))),
    ):
        pass
