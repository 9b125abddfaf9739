"""`gpa doctor`: what a pipeline needs, checked before work, each failure with its remedy."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata

from rich.console import Console
from rich.table import Table

from gpa.runtime.errors import UserError
from gpa.runtime.execution import Resources
from gpa.runtime.models import Facts
from gpa.runtime.stage import Stage
from gpa.runtime.storage import Store

# Less than this on the disk of OUT stops a run; what a corpus needs is for `gpa plan` to say.
MIN_FREE_GB = 1.0
PROBE = ".gpa-doctor"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `problem` holds what is wrong and the remedy."""

    subject: str
    found: str
    problem: str | None = None


def findings(stages: Sequence[Stage], store: Store, resources: Resources) -> Iterator[Finding]:
    """Check everything, in order; a failure does not end the list."""
    yield _checked("Python", lambda: sys.version.split()[0])
    yield _checked("Ray", lambda: f"{metadata.version('ray')}, {_where(resources)}")
    yield _checked("OUT", lambda: _writable(store))
    yield _checked("GPU", lambda: _gpus(resources))
    for stage in stages:
        # A stage's models are looked at together: its first problem is the one to mend first.
        try:
            for name, facts in stage.models().items():
                yield Finding(f"{stage.step}/{name}", _describe(facts))
        except UserError as error:
            yield Finding(stage.name, "", str(error))


def examine(stages: Sequence[Stage], store: Store, resources: Resources) -> None:
    """Raise UserError with all problems at once, if there are any."""
    problems = [
        f"{finding.subject}: {finding.problem}"
        for finding in findings(stages, store, resources)
        if finding.problem
    ]
    if problems:
        raise UserError("Nothing was started. " + "\n".join(problems))


def show(stages: Sequence[Stage], store: Store, resources: Resources, console: Console) -> bool:
    """Print every finding; returns whether all is well."""
    table = Table(box=None, title="What this pipeline needs", title_justify="left")
    for column in ("", "", "found, or what to do"):
        table.add_column(column, overflow="fold")
    well = True
    for finding in findings(stages, store, resources):
        well = well and finding.problem is None
        mark = "[red]missing[/red]" if finding.problem else "[green]ok[/green]"
        table.add_row(mark, finding.subject, finding.problem or finding.found)
    console.print(table)
    return well


def load(stages: Sequence[Stage], console: Console) -> None:
    """Load every model once: what adapters derive from their weights is then in the cache."""
    for stage in stages:
        if stage.models():
            console.print(f"loading {stage.name}")
            stage.load()


def _checked(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, look())
    except UserError as error:
        return Finding(subject, "", str(error))


def _where(resources: Resources) -> str:
    cpus = resources.cpus or os.cpu_count()
    return resources.address or f"started on this machine with {cpus} CPUs"


def _writable(store: Store) -> str:
    try:
        store.write(PROBE, b"")
        store.remove(PROBE)
    except OSError as error:
        raise UserError(
            f"{store.url} is not writable ({error.strerror or error}); choose another --out."
        ) from None
    if not store.is_local:
        return f"{store.url}, writable"
    free_gb = shutil.disk_usage(store.root).free / 1e9
    if free_gb < MIN_FREE_GB:
        raise UserError(
            f"only {free_gb:.1f} GB are free on the disk of {store.root}; make room or choose "
            "another --out."
        )
    return f"{store.root}, writable, {free_gb:.0f} GB free"


def _gpus(resources: Resources) -> str:
    import torch

    have = torch.cuda.device_count() if torch.cuda.is_available() else 0
    pools = {"default": resources.default, **resources.steps}
    asking = sorted(step for step, pool in pools.items() if pool.gpus > 0)
    if asking and have == 0 and resources.address is None:
        raise UserError(
            f"resources ask for a GPU ({', '.join(asking)}) and there is none; join a cluster "
            "with resources.address, or choose the pipeline `laptop`."
        )
    return f"{have} here, asked for by {', '.join(asking) or 'no stage'}"


def _describe(facts: Facts) -> str:
    origins = ", ".join(sorted({weights.origin for weights in facts.weights})) or "no weights"
    return f"{facts.model} ({facts.library}), {facts.licence}, {origins}, {facts.memory_mb} MB"
