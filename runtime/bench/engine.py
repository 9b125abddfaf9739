"""What the engine itself costs: partitions that do nothing, and a second worker."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.bench.figures import Measurement
from gpa.runtime.config import Config
from gpa.runtime.execution import Engine, Job, Pool, Resources
from gpa.runtime.stage import Artifact, Attempts, Stage
from gpa.runtime.storage import Store

SIZES = (1_000, 10_000, 100_000)
DONE = 10_000
# Enough that starting the workers weighs little.
BUSY_PARTITIONS, BUSY_S = 120, 1.0
# Artifacts that hold nothing go where no disk has to sync them: the engine is what is measured.
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


class WorkConfig(Config):
    """Seconds of CPU that each partition takes."""

    cpu_s: float = 0.0


class Work(Stage):
    """Takes its time, and makes a row."""

    step = "work"
    config: WorkConfig

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        until = time.process_time() + self.config.cpu_s
        count = 0
        while time.process_time() < until:
            count += 1
        return Artifact(pa.table({"partition": [partition]}))


def bench() -> Iterator[Measurement]:
    """All measurements; they start Ray, and take about eight minutes."""
    yield from _partitions_done()
    yield from _no_work()
    yield from _two_workers()


def _partitions_done() -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        artifacts = ArtifactStore(Store(folder))
        artifacts.write("stage", "fingerprint", "part-0", Artifact(pa.table({"row": [1]})))
        first = Path(folder) / "stage" / "fingerprint" / "part-0.parquet"
        for number in range(1, DONE):
            (first.parent / f"part-{number}.parquet").hardlink_to(first)
        began = time.perf_counter()
        artifacts.done("stage", "fingerprint", [f"part-{number}" for number in range(DONE)])
        each_ms = (time.perf_counter() - began) / DONE * 1000
    yield Measurement(f"a partition of {DONE:,} that is done already", each_ms, "ms", at_most=5)


def _no_work() -> Iterator[Measurement]:
    """Time and the driver's memory at more and more partitions: both should be flat."""
    each_ms = []
    with Engine(Resources(cpus=2)) as engine:
        for size in SIZES:
            with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
                job = Job(Work(f"nothing-{size}", WorkConfig()), "fp", {})
                names = [f"part-{number}" for number in range(size)]
                before = peak = _resident_bytes()
                # From the first outcome on: workers start once, however many partitions there are.
                began = ended = 0.0
                for number, _ in enumerate(engine.run(job, names, folder, "bench")):
                    ended = time.perf_counter()
                    began = began or ended
                    if number % 100 == 0:
                        peak = max(peak, _resident_bytes())
            each_ms.append((ended - began) / (size - 1) * 1000)
            yield Measurement(f"a no-op partition of {size:,}", each_ms[-1], "ms")
            memory = f"memory of the driver, {size:,} no-op partitions"
            yield Measurement(memory, (peak - before) / 2**20, "MB more")
    growth = max(after / before for before, after in pairwise(each_ms))
    yield Measurement("time of a no-op partition, ten times as many", growth, "x", at_most=1.2)


def _resident_bytes() -> int:
    """Memory of this process."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def _two_workers() -> Iterator[Measurement]:
    """The same work on one worker and on two, with their start."""
    names = [f"part-{number}" for number in range(BUSY_PARTITIONS)]
    seconds = []
    for workers in (1, 2):
        pool = Pool(workers=workers)
        with (
            Engine(Resources(cpus=2, default=pool)) as engine,
            tempfile.TemporaryDirectory() as folder,
        ):
            job = Job(Work("work", WorkConfig(cpu_s=BUSY_S)), "fp", {})
            began = time.perf_counter()
            for _ in engine.run(job, names, folder, "bench"):
                pass
            seconds.append(time.perf_counter() - began)
    yield Measurement("two workers / one worker", seconds[0] / seconds[1], "x", at_least=1.8)
