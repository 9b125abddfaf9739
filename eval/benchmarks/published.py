"""Published figures (`published.yaml`), which the tables of an evaluation set ours beside."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from gpa.runtime.config import Config, parse, read_yaml

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

    @model_validator(mode="after")
    def _rows_fill_the_columns(self) -> QualityTable:
        for row in self.rows:
            if len(row.figures) != len(self.columns):
                raise ValueError(f"{row.model} has {len(row.figures)} figures")
        return self


class LatencyTable(Config):
    """Times and real-time factors under load, a row a number of concurrent requests."""

    title: str
    source: str
    columns: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]

    @model_validator(mode="after")
    def _rows_fill_the_columns(self) -> LatencyTable:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"the row of {row[0]} requests has {len(row)} figures")
        return self


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
