"""`gpa report OUT`: the page, the figures, and the dataset card of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from gpa.curation.report import card, summary
from gpa.curation.report.audit import Audit, as_json, audit, figures
from gpa.curation.report.clips import LONGEST_TOTAL_S
from gpa.curation.report.listen import read_samples
from gpa.curation.report.outputs import Run, open_run
from gpa.curation.report.overlap import ErrorOverlap
from gpa.curation.report.page import render

PAGE = "report/index.html"
SAMPLES = 200


def write_report(
    run: Run,
    found: Audit,
    overlaps: Sequence[ErrorOverlap] = (),
    summarised: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write `report/index.html` and `report/summary.json`, which has the figures as `audit`.

    `overlaps` are known where the recordings have a reference; `summarised` is what the run
    amounts to, None where an earlier report of it says that already. Of a whole run the dataset
    card is written too. Returns the figures.
    """
    result = figures(found, run.partial, overlaps)
    store = run.artifacts.store
    drawn = found.sampler.chosen(LONGEST_TOTAL_S)
    store.write(PAGE, render(run, found, read_samples(run, drawn), overlaps).encode())
    if summarised is None:
        # What an earlier run left there would not be about this one.
        summarised = {} if run.partial else _summary(run)
    store.write(summary.NAME, as_json({**summarised, "audit": result}))
    if not run.partial:
        store.write(card.NAME, card.dataset_card(run.content, found).encode())
    return result


def report(out: str, overlaps: Sequence[ErrorOverlap], console: Console) -> None:
    """`gpa report OUT`; raises UserError where there is no run to report on."""
    run = open_run(out)
    result = write_report(run, audit(run, SAMPLES), overlaps)
    if run.partial:
        console.print("The run is not finished: the report is about what there is.")
    if not result["reconciles"]:
        console.print("[red]The books do not balance; the page says where.[/red]")
    console.print(f"{out}/{PAGE}", markup=False)


def _summary(run: Run) -> dict[str, Any]:
    try:
        return json.loads(run.artifacts.store.read(summary.NAME))
    except FileNotFoundError:
        return {}
