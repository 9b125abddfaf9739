"""The layout of the house: import names, and a room that must not shadow the standard library."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_tokenize_at_the_root_is_the_standard_librarys():
    code = "import tokenize, inspect, linecache; print(tokenize.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()).parent == Path(sysconfig.get_paths()["stdlib"])
    assert not (ROOT / "tokenize" / "__init__.py").exists()


def test_every_room_imports_under_gpa():
    import gpa.curation
    import gpa.eval
    import gpa.runtime
    import gpa.tokenize.bicodec
    import gpa.train

    assert Path(gpa.curation.__file__ or "").parent == ROOT / "curation"
    assert Path(gpa.tokenize.bicodec.__file__ or "").parent == ROOT / "tokenize" / "bicodec"


def test_nothing_names_a_path_of_the_machine_it_was_written_on():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    home = "/" + "work/"
    offenders = [
        name
        for name in tracked
        if (ROOT / name).suffix in {".py", ".md", ".yaml", ".toml", ".txt", ""}
        and (ROOT / name).is_file()
        and home in (ROOT / name).read_text(encoding="utf-8", errors="ignore")
    ]
    assert offenders == []
