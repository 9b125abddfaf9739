"""The tables of an evaluation: the paper's, with the published rows and ours beneath them.

Percent, as published. A dagger marks a figure of ours that must not be compared with the column
it stands in; the list below each table says why, and how each of ours came about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpa.eval.benchmarks.datasets import TestSet
from gpa.eval.benchmarks.published import (
    LatencyTable,
    QualityTable,
    latency_cells,
    markdown,
    published,
)
from gpa.eval.benchmarks.scoring import Figure
from gpa.tokenize.sequences import Task

DAGGER = "†"
UNTRAINED = (
    "The tokenizers are untrained: figures of synthesis and conversion mean nothing, and "
    "recognition can only know what was learnt by heart."
)
_METRICS = {"WER": "WER", "CER": "CER", "SIM": "similarity", "NEARER": "nearer the voice"}


@dataclass(frozen=True)
class Measured:
    """The figures of one test set, and by key why items have no answer."""

    test_set: TestSet
    figures: tuple[Figure, ...]
    failed: Mapping[str, str]


@dataclass(frozen=True)
class System:
    """What was measured. `trained` says whether its tokenizers are."""

    name: str
    parameters: int
    checkpoint: str
    tokenizers: str
    trained: bool


def tables(system: System, measured: Sequence[Measured], latency: Mapping[str, Any] | None) -> str:
    """`tables.md`; `latency` is the content of `latency.json`, where that was measured."""
    paper = published()
    qualities: Mapping[Task, QualityTable] = {
        "asr": paper.recognition,
        "tts": paper.synthesis,
        "vc": paper.conversion,
    }
    times: Mapping[Task, LatencyTable] = {
        "tts": paper.synthesis_latency,
        "asr": paper.recognition_latency,
    }
    lines = [
        f"# Evaluation of {system.name}",
        "",
        f"Checkpoint `{system.checkpoint}`, {system.parameters:,} parameters; tokenizers "
        f"`{system.tokenizers}`. Intervals are 95 %, of a bootstrap over utterances.",
    ]
    if not system.trained:
        lines += ["", f"**{UNTRAINED}**"]
    for task, quality in qualities.items():
        of_task = [each for each in measured if each.test_set.task == task]
        lines += ["", f"## {quality.title}", "", *_quality(system, quality, of_task)]
        lines += ["", _sources(quality.source, quality.note), *_account(of_task)]
    for task, timed in times.items():
        lines += ["", f"## {timed.title}", "", *_latency(system, timed, task, latency)]
    return "\n".join(lines) + "\n"


def _quality(system: System, table: QualityTable, measured: Sequence[Measured]) -> list[str]:
    """Published rows, then ours; a set that nobody published on has a column of its own."""
    ours = {
        (each.test_set.name, figure.metric): _cell(figure)
        for each in measured
        for figure in each.figures
        if not figure.weighted
    }
    known = [(column.set, column.metric) for column in table.columns]
    extra = [key for key in ours if key not in known]
    heads = ["model", "parameters", *(column.heading for column in table.columns)]
    heads += [f"{name} {_METRICS[metric]}" for name, metric in extra]
    rows = []
    for row in table.rows:
        figures = [
            _published(figure, column.metric)
            for figure, column in zip(row.figures, table.columns, strict=True)
        ]
        rows.append([row.model, row.size or "-", *figures, *("-" for _ in extra)])
    own = [ours.get(key, "-") for key in [*known, *extra]]
    rows.append([f"**{system.name}** (this run)", _size(system.parameters), *own])
    return markdown(heads, rows)


def _account(measured: Sequence[Measured]) -> list[str]:
    """How each of our figures came about, and what may not be concluded from it."""
    rows = []
    for each in measured:
        name, size = each.test_set.name, each.test_set.published_size
        for figure in each.figures:
            count = f"{figure.estimate.count:,}" + (f" of {size:,}" if size else "")
            how = figure.method
            if each.failed:
                how += f"; {len(each.failed)} without an answer, counted as all wrong"
            if figure.reservations:
                how += f"; {DAGGER} {'; '.join(figure.reservations)}"
            label = f"{name} {_METRICS[figure.metric]}"
            label += ", weighted as the authors do" if figure.weighted else ""
            rows.append([label, _percent(figure.estimate.value), _interval(figure), count, how])
    heads = ["figure of this run", "%", "95 % interval", "n", f"how; {DAGGER} why not to compare"]
    return ["", *markdown(heads, rows, texts=(0, 4))] if rows else []


def _cell(figure: Figure) -> str:
    mark = f" {DAGGER}" if figure.reservations else ""
    interval = _interval(figure)
    return _percent(figure.estimate.value) + (f" ({interval})" if interval != "-" else "") + mark


def _interval(figure: Figure) -> str:
    low, high = figure.estimate.low, figure.estimate.high
    return "-" if math.isnan(low) else f"{_percent(low)} to {_percent(high)}"


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.2f}"


def _published(percent: float | None, metric: str) -> str:
    """In the digits that it was published with."""
    return "-" if percent is None else f"{percent:.{1 if metric == 'SIM' else 2}f}"


def _size(parameters: int) -> str:
    return f"{parameters / 1e9:.2g}B"


def _latency(
    system: System, table: LatencyTable, task: Task, latency: Mapping[str, Any] | None
) -> list[str]:
    """Published rows, then ours, where they were measured."""
    rows = [["GPA-0.3B-preview", *(f"{value:,g}" for value in row)] for row in table.rows]
    if latency is not None:
        for row in latency["tasks"][task]["at_once"]:
            rows.append([f"**{system.name}** (this machine)", *latency_cells(task, row)])
    note = "It does not name the GPU."
    if latency is None:
        note += " Ours was not measured: `gpa latency` does that, against a running `gpa serve`."
    return [*markdown(["model", *table.columns], rows), "", _sources(table.source, note)]


def _sources(source: str | None, note: str) -> str:
    return f"Published rows: <{source}>. {note}" if source else note
