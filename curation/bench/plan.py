"""How near `gpa plan` comes to the run that it plans, on the sample corpus."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from gpa.curation import run
from gpa.curation.ingest import sample
from gpa.curation.pipeline import read_pipeline
from gpa.curation.prepare import plan
from gpa.runtime import record
from gpa.runtime.bench.figures import Measurement
from gpa.runtime.options import pipelines
from gpa.runtime.storage import Store

NAME = "laptop"
MINUTES = 1.5
# A plan may be wrong by so much.
TOLERANCE = 1.3


def bench() -> Iterator[Measurement]:
    """Time of the CPU and retention, planned beside real; takes about four minutes."""
    config, quiet = read_pipeline(pipelines(), NAME), Console(quiet=True)
    with tempfile.TemporaryDirectory() as folder:
        corpus, out = str(sample.write(Path(folder) / "corpus")), str(Path(folder) / "out")
        planned = plan.plan(corpus, out, NAME, config, MINUTES, quiet)
        result = run.curate(corpus, out, NAME, config, quiet)
        stages = record.require(Store(out))["stages"].values()
    cpu_hours = sum(stage["cpu_s"] for stage in stages) / 3600
    ratio = planned.total("cpu_hours") / cpu_hours
    kept = result["seconds"]["kept"] / result["seconds"]["in"]
    yield Measurement(
        "CPU of a plan / of its run, the larger over the smaller",
        max(ratio, 1 / ratio),
        "x",
        at_most=TOLERANCE,
    )
    yield Measurement("share kept by plan - by run", 100 * (planned.kept.value - kept), "points")
    yield Measurement(
        "share kept by run, beyond the plan's 95 % interval",
        100 * max(planned.kept.low - kept, kept - planned.kept.high, 0.0),
        "points",
        at_most=0,
    )
