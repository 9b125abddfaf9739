"""Published figures (`published.yaml`), and tables in the columns that they stand in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from gpa.runtime.config import Config, parse, read_yaml
from gpa.tokenize.sequences import Task

FILE = Path(__file__).with_name("published.yaml")

Metric = Literal["WER", "CER", "SIM"]


class Column(Config):
    """Which figure a column holds: a metric, in percent, on a test set (`eval/benchmarks/datasets.py`)."""

    heading: str
    set: str
    metric: Metric


class Row(Config):
    """What one system was published with, a figure a column; None: not published."""

    model: str
    size: str | None
    figures: tuple[float | None, ...]


class QualityTable(Config):
    """Systems against test sets; `source` says where all of it was read."""

    title: str
    source: str | None
    note: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


class LatencyTable(Config):
    """Times and real-time factors under load, a row a number of concurrent requests."""

    title: str
    source: str
    columns: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]


class Published(Config):
    """The tables of the paper."""

    card: str
    recognition: QualityTable
    synthesis: QualityTable
    conversion: QualityTable
    synthesis_latency: LatencyTable
    recognition_latency: LatencyTable


@cache
def published() -> Published:
    """All that was published, read once."""
    return parse(Published, read_yaml(FILE), str(FILE))


def latency_cells(task: Task, row: Mapping[str, Any]) -> list[str]:
    """Cells of a row of `latency.json`, in the order of the published columns."""
    cells = [f"{row['at_once']}", *_spread(row["first_s"], 1000, 1)]
    if task == "asr":
        return [*cells, _spread(row["total_s"], 1000, 1)[0]]
    return [*cells, *_spread(row["rtf"], 1, 3), f"{row['audio_s']:.2f}"]


def _spread(spread: Mapping[str, float] | None, factor: float, digits: int) -> list[str]:
    if spread is None:
        return ["-", "-", "-"]
    return [f"{factor * spread[name]:,.{digits}f}" for name in ("mean", "p50", "p99")]


def markdown(
    heads: Sequence[str], rows: Iterable[Sequence[str]], texts: Sequence[int] = (0,)
) -> list[str]:
    """A table whose columns `texts` are to the left and figures to the right."""
    rule = ["---" if number in texts else "---:" for number in range(len(heads))]
    return [f"| {' | '.join(cells)} |" for cells in (heads, rule, *rows)]
