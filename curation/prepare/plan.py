"""`gpa plan`: what a run would take and keep, before it is run.

A few minutes of the corpus, drawn at random, go through the whole pipeline in a scratch folder,
on the resources that the run would have. What each stage spent on them, a second of audio, is
what the corpus will cost; what was kept of them, with its interval, is what the run will keep.
What an OUT holds already is not paid for again. docs/performance.md says what is assumed.
"""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile
from rich.console import Console
from rich.table import Table

from gpa.curation import run, shards
from gpa.curation.audio import DecodeError, decode
from gpa.curation.ingest import corpus
from gpa.curation.ingest import stage as ingest
from gpa.curation.intervals import Estimate, ratio
from gpa.curation.pipeline import PipelineConfig
from gpa.curation.prepare.done import done_s
from gpa.curation.report import summary
from gpa.curation.report.funnel import STEPS
from gpa.curation.waves import AUDIO
from gpa.runtime import record
from gpa.runtime.errors import NotReadError, UserError
from gpa.runtime.execution import Engine
from gpa.runtime.progress import duration
from gpa.runtime.stage import rows
from gpa.runtime.storage import Store

SEED = 20240721
# A recording is sampled in excerpts of this length: long ones count by their audio, not as one.
EXCERPT_S = 60.0
# What adds up over stages.
SUMMED = ("worker_hours", "cpu_hours", "gpu_hours", "finish_hours")
# So many files are decoded, and so much audio; where there is more, bytes stand in for seconds.
MOST_PROBED = 500
MOST_PROBED_S = 4 * 3600.0


@dataclass(frozen=True)
class Excerpt:
    """A stretch of a recording, in its time; the last one of a recording may be shorter."""

    file: corpus.RawFile
    start_s: float
    seconds: float


@dataclass(frozen=True)
class Rate:
    """What one stage spends on each second of audio that goes into the pipeline."""

    name: str
    step: str
    start_s: float  # once, by the clock: to start its workers and load its models
    audio_s: float  # that reaches the stage
    left_s: float  # that is not dropped when it is done
    worker_s: float
    cpu_s: float
    disk_bytes: float
    audio_bytes: float = 0.0  # of these, what `resources.keep: tables` prunes


@dataclass(frozen=True)
class StagePlan:
    """What one stage will spend on the audio that it has not done yet."""

    rate: Rate
    cached_hours: float  # of audio in the corpus, done already
    workers: int
    audio_hours: float  # that the stage will work on
    worker_hours: float  # of all its workers together, models loaded
    cpu_hours: float  # of cores
    gpu_hours: float  # for which GPUs are held
    finish_hours: float  # by the clock, the work shared evenly among the workers
    disk_gb: float  # that it writes
    audio_gb: float  # of these, what `resources.keep: tables` prunes

    @classmethod
    def of(
        cls, rate: Rate, hours: float, cached_hours: float, workers: int, gpus: float
    ) -> StagePlan:
        """By the rate of a sample, over `hours` of audio; each worker holds so many GPUs."""
        to_do = hours - cached_hours
        worker_hours = to_do * rate.worker_s
        return cls(
            rate,
            cached_hours,
            workers,
            audio_hours=to_do * rate.audio_s,
            worker_hours=worker_hours,
            cpu_hours=to_do * rate.cpu_s,
            gpu_hours=worker_hours * gpus,
            finish_hours=rate.start_s / 3600 + worker_hours / workers if to_do else 0.0,
            disk_gb=to_do * 3600 * rate.disk_bytes / 1e9,
            audio_gb=to_do * 3600 * rate.audio_bytes / 1e9,
        )


@dataclass(frozen=True)
class Plan:
    """What a run will take; `kept` is a share of the audio that goes in."""

    hours: float
    sample_s: float
    kept: Estimate
    stages: tuple[StagePlan, ...]
    unreadable: tuple[str, ...]  # files of the sample that could not be decoded, and why
    # Hours of audio that was pruned and is made again, by stage; of the longest wave; what is kept.
    again_hours: Mapping[str, float] = field(default_factory=dict)
    wave_hours: float = math.inf
    keep: str = "all"

    @property
    def peak_gb(self) -> float:
        """What lies there of it at its highest: of what will be pruned, that of one wave."""
        at_once = min(1.0, self.wave_hours / self.hours) if self.keep == "tables" else 1.0
        return self.total("disk_gb") - (1 - at_once) * self.total("audio_gb")

    @property
    def models_hours(self) -> float:
        """Hours of a wave that hold the start of workers and models to a hundredth of its time."""
        start_s = sum(stage.rate.start_s for stage in self.stages)
        hour_s = sum(stage.rate.worker_s / stage.workers for stage in self.stages) * 3600
        return start_s / hour_s * 99 if hour_s else 0.0

    def total(self, figure: str) -> float:
        """A figure of `StagePlan` over all stages."""
        return sum(getattr(stage, figure) for stage in self.stages)


def plan(
    corpus_url: str,
    out: str,
    name: str,
    config: PipelineConfig,
    minutes: float,
    console: Console,
) -> Plan:
    """Probe a corpus and reckon; nothing is written to `out`.

    Raises UserError as `curate` does, and where nothing of the corpus can be decoded.
    """
    listed = corpus.find(corpus_url, config.ingest.allow_outside)
    probed, total_s = survey([f for f in listed if f.error is None], config.ingest)
    if not total_s:
        raise UserError(f"Corpus {corpus_url} holds no audio that can be read.")
    with tempfile.TemporaryDirectory(prefix="gpa-plan-") as folder:
        manifest, scratch = Path(folder) / "sample" / "sample.jsonl", Path(folder) / "out"
        sample, unreadable = write_sample(draw(probed, minutes * 60), manifest, config.ingest)
        if not sample:
            raise UserError(f"Nothing of what was drawn can be decoded: {'; '.join(unreadable)}.")
        sample_s = sum(sample.values())
        console.print(f"Probing {duration(sample_s)} of about {duration(total_s)} ...")
        # A minute each, so that all workers have something to do.
        ingest_config = config.ingest.model_copy(update={"partition_minutes": EXCERPT_S / 60})
        resources = config.resources.model_copy(update={"keep": "all"})
        probing = config.model_copy(update={"ingest": ingest_config, "resources": resources})
        run.curate(str(manifest), str(scratch), name, probing, Console(quiet=True))
        cached_s, again_s = done_s(Store(out), listed, config)
        partitions = max(1, round(total_s / 60 / config.ingest.partition_minutes))
        with Engine(config.resources) as engine:
            stages = []
            for rate in _rates(scratch, sample_s, config, engine):
                pool = config.resources.pool(rate.step)
                cached_hours = min(cached_s.get(rate.name, 0.0), total_s) / 3600
                workers = engine.workers(pool, partitions)
                stages.append(StagePlan.of(rate, total_s / 3600, cached_hours, workers, pool.gpus))
        return Plan(
            hours=total_s / 3600,
            sample_s=sample_s,
            kept=_kept(scratch, sample),
            stages=tuple(stages),
            unreadable=unreadable,
            again_hours={name: seconds / 3600 for name, seconds in again_s.items() if seconds},
            # A wave ends with the partition that fills it.
            wave_hours=config.resources.wave_hours + config.ingest.partition_minutes / 60,
            keep=config.resources.keep,
        )


def survey(
    files: Sequence[corpus.RawFile], config: ingest.IngestConfig
) -> tuple[dict[corpus.RawFile, float], float]:
    """Seconds of the recordings that ingest makes of the files, and of all of them together.

    Of more files, or more audio, than MOST_PROBED and MOST_PROBED_S some are drawn, and the others
    counted as having as many seconds a byte.
    """
    places: list[int] = []
    probed: dict[str, dict] = {}
    probed_s = 0.0
    for place in np.random.default_rng(SEED).permutation(len(files))[:MOST_PROBED]:
        if probed_s >= MOST_PROBED_S:
            break
        places.append(place)
        if (file := files[place]).uri in probed:  # another segment of it
            continue
        with contextlib.suppress(NotReadError):
            row = {"uri": file.uri, "size": file.size, "stamp": file.stamp}
            probed[file.uri] = ingest.probe_row(row)
            probed_s += sum(s["duration_s"] for s in probed[file.uri].get("streams", []))
    drawn = [files[place] for place in sorted(places) if files[place].uri in probed]
    table = pa.Table.from_pylist(list(probed.values()), ingest.PROBED)
    found = ingest.arrange(drawn, table, {}, config)
    recordings = {
        corpus.RawFile(
            row["path"],
            row["uri"],
            row["bytes"],
            language=row["language"],
            start_s=row["start_s"],
            end_s=row["end_s"],
            channel=row["channel"],
        ): row["duration_s"]
        for partition in found.partitions.values()
        for row in rows(partition)
    }
    read_bytes = sum(files[place].size for place in places)
    all_bytes = sum(file.size for file in files)
    total_s = sum(recordings.values()) * (all_bytes / read_bytes if read_bytes else 0.0)
    return recordings, total_s


def draw(probed: Mapping[corpus.RawFile, float], seconds: float) -> list[Excerpt]:
    """Excerpts at random, each stretch of the corpus as likely as any other, until `seconds`."""
    every = [
        Excerpt(file, float(start), min(EXCERPT_S, length - start))
        for file, length in probed.items()
        for start in np.arange(0.0, length, EXCERPT_S)
    ]
    drawn, total_s = [], 0.0
    for place in np.random.default_rng(SEED).permutation(len(every)):
        if total_s >= seconds:
            break
        drawn.append(every[place])
        total_s += every[place].seconds
    return drawn


def write_sample(
    excerpts: Sequence[Excerpt], manifest: Path, config: ingest.IngestConfig
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Write excerpts beside a manifest of them.

    Returns their seconds by path, and the files that can't be decoded, with the reason.
    """
    manifest.parent.mkdir()
    of_file = defaultdict(list)
    for excerpt in excerpts:
        of_file[excerpt.file].append(excerpt)
    written: dict[str, float] = {}
    unreadable, lines = [], []
    for file, stretches in of_file.items():
        try:
            waveform, rate = decode(file.uri, config.stream)
            if file.channel is not None:
                waveform = waveform[file.channel : file.channel + 1]
        except (DecodeError, NotReadError) as error:
            unreadable.append(f"{file.path}: {error}")
            continue
        for excerpt in stretches:
            name = f"{len(written):05d}.wav"
            first, last = (
                round((file.start_s + at_s) * rate)
                for at_s in (excerpt.start_s, excerpt.start_s + excerpt.seconds)
            )
            # As float: nothing of the recording is clipped or rounded.
            part = waveform[:, first:last].T
            soundfile.write(manifest.parent / name, part, rate, subtype="FLOAT")
            written[name] = len(part) / rate
            lines.append(json.dumps({"path": name, "language": file.language}))
    manifest.write_text("\n".join(lines), encoding="utf-8")
    return written, tuple(unreadable)


def _rates(
    scratch: Path, sample_s: float, config: PipelineConfig, engine: Engine
) -> Iterator[Rate]:
    """What each stage spent on the sample."""
    store = Store(str(scratch))
    content = record.require(store)
    dropped = json.loads(store.read(summary.NAME))["audit"]["funnel"]["dropped"]
    for name, stage in content["stages"].items():
        upto = STEPS[: STEPS.index(stage["step"]) + 1]
        lost_s = sum(row["seconds"] for row in dropped if row["step"] in upto)
        folders = [name, *([shards.CURATED] if stage["step"] == "package" else [])]
        workers = engine.workers(config.resources.pool(stage["step"]), stage["partitions"])
        load_s = stage["load_s"] / workers
        yield Rate(
            name=name,
            step=stage["step"],
            start_s=max(0.0, stage["wall_s"] - load_s - stage["worker_s"] / workers) + load_s,
            audio_s=stage["audio_s"] / sample_s,
            left_s=1 - lost_s / sample_s,
            worker_s=stage["worker_s"] / sample_s,
            cpu_s=stage["cpu_s"] / sample_s,
            disk_bytes=sum(_bytes_in(scratch / each) for each in folders) / sample_s,
            audio_bytes=_bytes_in(scratch / name, "*.tar") / sample_s if name in AUDIO else 0.0,
        )


def _kept(scratch: Path, sample: Mapping[str, float]) -> Estimate:
    """Share of the audio that is kept, over excerpts."""
    manifest, _ = shards.read_manifest(Store(str(scratch)))
    kept_s: Counter[str] = Counter()
    for path, seconds in zip(
        manifest["source"].to_pylist(), manifest["duration_s"].to_pylist(), strict=True
    ):
        kept_s[path] += seconds
    return ratio([kept_s[path] for path in sample], sample.values())


def _bytes_in(folder: Path, pattern: str = "*") -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


def show(found: Plan, out: str, console: Console) -> None:
    """Print the table of stages, and what a run comes to."""
    unit, per_hour = ("hours", 1.0) if found.hours >= 1 else ("minutes", 60.0)
    table = Table(title=f"What each stage will take, in {unit}", title_justify="left", box=None)
    table.add_column("", no_wrap=True)
    for column in ("audio", "cached", "work", "CPU", "GPU", "done in", "GB", "left"):
        table.add_column(column, justify="right", no_wrap=True)
    times = ("audio_hours", "cached_hours", *SUMMED)
    for stage in found.stages:
        table.add_row(
            stage.rate.name,
            *(f"{getattr(stage, name) * per_hour:,.2f}" for name in times),
            f"{stage.disk_gb:,.2f}",
            f"{stage.rate.left_s:.0%}",
        )
    table.add_row(
        "all", "", "", *(f"{found.total(name) * per_hour:,.2f}" for name in SUMMED),
        f"{found.total('disk_gb'):,.2f}", f"{found.kept.value:.0%}", style="bold",
    )  # fmt: skip
    console.print(table)
    workers = max(stage.workers for stage in found.stages)
    console.print(
        f"audio: what the stage will work on; cached: what {out} has done already; work: of all "
        f"its workers (at most {workers}) together; left: of the audio that goes in, when it is done.",
        style="dim",
        markup=False,
    )
    kept = found.kept
    interval = f" ({kept.low:.0%} to {kept.high:.0%})" if not math.isnan(kept.low) else ""
    console.print(
        f"Of {duration(found.hours * 3600)} about {kept.value:.0%}{interval} will be kept, by "
        f"{kept.count} excerpts of {duration(found.sample_s)} in all.",
        soft_wrap=True,
    )
    for name, again in found.again_hours.items():
        console.print(f"Pruned, and made again: {again * per_hour:,.2f} {unit} of {name}.")
    console.print(
        f"At its highest {found.peak_gb:,.2f} GB lie there (resources.keep: {found.keep}). Waves from "
        f"{found.models_hours:,.1f} h on spend less than 1 % on the start of workers and models.",
        soft_wrap=True,
    )
    if found.unreadable:
        console.print(f"Can't be decoded: {'; '.join(found.unreadable)}.", markup=False)
    store = Store(out)
    if store.is_local:
        place = next(
            each for each in (Path(store.root), *Path(store.root).parents) if each.exists()
        )
        free_gb = shutil.disk_usage(place).free / 1e9
        if free_gb < found.peak_gb:
            console.print(
                f"Only {free_gb:,.1f} GB are free on the disk of {out}.", style="red", markup=False
            )
