"""`gpa plan --hours`: what a corpus of some size would take, by rates that the config assumes.

For corpora and clusters that are not there yet. What is at hand is better probed (`plan.py`): the
rates here are somebody's figures for somebody's machines, and the config says whose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from gpa.curation.package.stage import PackageStage
from gpa.curation.pipeline import ForecastConfig, PipelineConfig, build_stages
from gpa.curation.waves import AUDIO
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Pool
from gpa.runtime.stage import Stage


@dataclass(frozen=True)
class StageForecast:
    """Of one stage: audio that reaches it, and what it takes."""

    name: str
    audio_hours: float
    worker_hours: float
    cpu_hours: float  # for which cores are held
    gpu_hours: float  # for which GPUs are held
    workers: int
    terabytes: float

    @property
    def finish_hours(self) -> float:
        """By the clock, all workers busy from beginning to end."""
        return self.worker_hours / self.workers


@dataclass(frozen=True)
class Forecast:
    """The stages in their order, and what comes out of the last."""

    hours: float
    kept_hours: float
    partitions: int
    stages: tuple[StageForecast, ...]
    source: str  # of the rates

    def total(self, figure: str) -> float:
        """A figure of `StageForecast` over all stages."""
        return math.fsum(getattr(stage, figure) for stage in self.stages)

    def peak_tb(self, wave_hours: float) -> float:
        """What lies there at its highest where audio between the steps is pruned, wave by wave."""
        audio_tb = math.fsum(stage.terabytes for stage in self.stages if stage.name in AUDIO)
        return self.total("terabytes") - audio_tb * (1 - min(1.0, wave_hours / self.hours))


def forecast(
    config: ForecastConfig,
    stages: Sequence[Stage],
    pools: Mapping[str, Pool],
    hours: float,
    partition_minutes: float,
    cpus: int,
    gpus: int,
) -> Forecast:
    """Reckon `hours` of audio on a cluster; `pools` are by step of the recipe.

    Raises UserError where a stage has no rate, and where a pool does not fit the cluster.
    """
    found = []
    reaches = hours
    for stage in stages:
        rate = config.stages.get(stage.name)
        if rate is None:
            raise UserError(f"forecast.stages has no rate for {stage.name}; add one.")
        pool = pools[stage.step]
        worker_hours = reaches * rate.rtf
        found.append(
            StageForecast(
                name=stage.name,
                audio_hours=reaches,
                worker_hours=worker_hours,
                cpu_hours=worker_hours * pool.cpus,
                gpu_hours=worker_hours * pool.gpus,
                workers=workers(stage.step, pool, cpus, gpus),
                terabytes=reaches * rate.mb_an_hour / 1e6,
            )
        )
        reaches *= rate.handed_on
    partitions = math.ceil(hours * 60 / partition_minutes)
    return Forecast(hours, reaches, partitions, tuple(found), config.source)


def forecast_pipeline(config: PipelineConfig, hours: float, cpus: int, gpus: int) -> Forecast:
    """What `hours` of audio would take on a cluster; raises UserError without assumed rates."""
    if config.forecast is None:
        raise UserError(
            "This pipeline assumes no rates (`forecast`); probe a corpus with --corpus."
        )
    stages = build_stages(config)
    inputs = [stage.name for stage in stages]
    stages.append(PackageStage("packaged", config.package, inputs, {}, {}))
    pools = {stage.step: config.resources.pool(stage.step) for stage in stages}
    minutes = config.ingest.partition_minutes
    return forecast(config.forecast, stages, pools, hours, minutes, cpus, gpus)


def workers(step: str, pool: Pool, cpus: int, gpus: int) -> int:
    """How many workers of a pool fit into a cluster; raises UserError where none does."""
    room = pool.room(cpus, gpus)
    if room < 1:
        raise UserError(
            f"A worker of {step} holds {pool.cpus:g} CPUs and {pool.gpus:g} GPUs, and the cluster "
            f"would have {cpus} and {gpus}; name a larger one with --cpus and --gpus."
        )
    return room


def show(found: Forecast, wave_hours: float, console: Console) -> None:
    """Print a line a stage, the sums, and what waves of so many hours leave on the disk."""
    table = Table(title="What each stage would take", title_justify="left", box=None)
    table.add_column("", no_wrap=True)
    for column in ("audio h", "CPU h", "GPU h", "done in h", "TB"):
        table.add_column(column, justify="right", no_wrap=True)
    for stage in found.stages:
        table.add_row(
            stage.name,
            f"{stage.audio_hours:,.0f}",
            f"{stage.cpu_hours:,.0f}",
            f"{stage.gpu_hours:,.0f}",
            f"{stage.finish_hours:,.1f}",
            f"{stage.terabytes:,.2f}",
        )
    sums = (found.total(name) for name in ("cpu_hours", "gpu_hours"))
    table.add_row(
        "all", "", *(f"{total:,.0f}" for total in sums),
        f"{found.total('finish_hours'):,.1f}", f"{found.total('terabytes'):,.2f}", style="bold",
    )  # fmt: skip
    console.print(table)
    console.print(
        f"With resources.keep: tables and waves of {wave_hours:,.0f} h at most "
        f"{found.peak_tb(wave_hours):,.2f} TB lie there at once.",
        soft_wrap=True,
    )
    console.print(
        f"Of {found.hours:,.0f} h in {found.partitions:,} partitions {found.kept_hours:,.0f} h would "
        f"be kept. All of it is reckoned from assumed rates: {found.source}.",
        soft_wrap=True,
    )
