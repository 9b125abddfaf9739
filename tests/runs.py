"""Helpers for tests that run the real `gpa` command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
GPA = Path(sys.executable).with_name("gpa")


def pipelines(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
    """A copy of pipelines.yaml with `change` applied to `laptop`."""
    return configured(folder, lambda content: change(content["pipelines"]["laptop"]))


def short_answers(folder: Path, **most_tokens: int) -> Path:
    """A copy of pipelines.yaml with answers of at most so many tokens, by task."""

    def shorten(content: dict[str, Any]) -> None:
        for task, tokens in most_tokens.items():
            content["eval"]["generation"][task]["max_new_tokens"] = tokens

    return configured(folder, shorten)


def configured(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of pipelines.yaml, changed."""
    content = yaml.safe_load((ROOT / "pipelines.yaml").read_text(encoding="utf-8"))
    change(content)
    file = folder / "pipelines.yaml"
    written = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    file.write_text(written, encoding="utf-8")
    return file


def start(
    *arguments: str | Path,
    program: Sequence[str | Path] = (GPA,),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """The `gpa` command, running, its output readable line by line."""
    return subprocess.Popen(
        [str(part) for part in (*program, *arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1", **(environment or {})},
    )


def gpa(*arguments: str | Path, status: int = 0) -> str:
    """What the `gpa` command prints; its exit status must be `status`."""
    process = start(*arguments)
    printed, _ = process.communicate()
    assert process.returncode == status, printed
    return printed


def summary(out: Path) -> dict[str, Any]:
    """`report/summary.json` of a run."""
    return json.loads((out / "report" / "summary.json").read_text())


def ran(out: Path) -> set[str]:
    """Stages of the last run that made at least one artifact."""
    stages = summary(out)["stages"]
    return {name for name, stage in stages.items() if stage["cached"] < stage["partitions"]}


def products(out: Path) -> dict[str, bytes]:
    """Everything that a user takes away, by name."""
    files = [path for name in ("curated", "rejected.parquet") for path in (out / name).rglob("*")]
    return {str(f.relative_to(out)): f.read_bytes() for f in sorted(files) if f.is_file()}
