"""`gpa doctor`: what the preflight of a run finds, a line each, and every model loaded once.

What is looked for is in `curation/preflight.py`, what is said of weights that are missing in
`curation/models/weights.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from gpa.curation.preflight import findings
from gpa.runtime import interpreter
from gpa.runtime.execution import Resources
from gpa.runtime.stage import Stage
from gpa.runtime.storage import Store


def show(stages: Sequence[Stage], store: Store, resources: Resources, console: Console) -> bool:
    """Print every finding in a line of its own; returns whether all is well."""
    well = True
    for finding in findings(stages, store, resources):
        well = well and finding.problem is None
        mark = "[red]missing[/red]" if finding.problem else "[green]ok[/green]     "
        console.print(f"{mark}  {finding.subject:<28}  ", end="")
        console.print(finding.problem or finding.found, markup=False, soft_wrap=True)
    return well


def load(stages: Sequence[Stage], console: Console) -> None:
    """Load every model once: what adapters derive from their weights is then in the cache."""
    for stage in stages:
        if not stage.adapters():
            continue
        console.print(f"loading {stage.name}")
        if stage.environment is None:
            stage.load()
        else:
            interpreter.call(stage.environment, stage.load)
