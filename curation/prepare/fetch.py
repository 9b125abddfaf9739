"""`gpa fetch`: all weights of a pipeline into the hub's cache, for machines that run offline.

Weights that are here are not asked for again. The hub's client goes on inside a file after a
broken connection; after a killed process it goes on with the file at which it was. Revision and
checksums of all files are what every run, offline too, takes anew and writes to its `run.json`.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from gpa.curation.doctor import look_at
from gpa.curation.models.weights import download, files_of, resolve
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Resources
from gpa.runtime.models import Source
from gpa.runtime.stage import Stage


def fetch(stages: Sequence[Stage], resources: Resources, console: Console) -> bool:
    """Download what is missing, then print what a run would still lack; whether that is nothing.

    One source that can't be had does not keep the others from being fetched.
    """
    # Never the hub's answer twice: what it refuses stands in the error of the download.
    resources = resources.model_copy(update={"offline": True})
    problems: dict[Source | str, str] = {}
    for source in _sources(stages):
        console.print(f"{source.name} ({source.licence})", markup=False)
        try:
            console.print(f"  {_fetched(source)}", markup=False)
        except UserError as error:
            problems[source] = str(error)
    for stage in stages:
        for name, adapter in stage.adapters().items():
            if problems.keys() & set(adapter.sources()):
                continue
            # A library, or weights that no hub has, such as MFA's.
            finding = look_at(stage, name, adapter, resources)
            if finding.problem:
                problems[finding.subject] = f"{finding.subject}: {finding.problem}"
    for problem in problems.values():
        console.print(problem, markup=False)
    return not problems


def _sources(stages: Sequence[Stage]) -> list[Source]:
    """Every source once, in the order of the recipe."""
    adapters = [adapter for stage in stages for adapter in stage.adapters().values()]
    return list(dict.fromkeys(source for adapter in adapters for source in adapter.sources()))


def _fetched(source: Source) -> str:
    """Where the weights are after the download, their size, and the checksum of each file."""
    folder = download(source)
    size = sum(file.stat().st_size for file in files_of(folder, source))
    weights = resolve(source)
    lines = [f"{size / 1e6:,.1f} MB in {folder}, sha256 {weights.sha256}"]
    return "\n".join([*lines, *(f"    {sha256}  {name}" for name, sha256 in weights.files)])
