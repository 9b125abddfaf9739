"""Runs a stage over partitions on Ray Data: ids go in, counters come out, artifacts stay.

One stage is one job with one fixed pool of actors, each with its model loaded once, if at all. What
flows through Ray are partition ids and a few numbers; audio and tables never enter its object store.
"""

from __future__ import annotations

import json
import logging
import math
import os
import resource
import shlex
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from gpa.runtime import interpreter
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.attempts import PartitionAttempts
from gpa.runtime.chatter import QUIET, without_native_chatter
from gpa.runtime.config import Config
from gpa.runtime.errors import NotReadError, UserError
from gpa.runtime.stage import Artifact, Stage
from gpa.runtime.storage import Store

# A block of items is what Ray schedules, at about 10 ms of the driver each, and what a worker does
# between two reports. So a worker gets no more than this many, however many items there are: each
# is at most a hundredth of its share, hence progress is seen, and no worker ends much before others.
BLOCKS_PER_WORKER = 100
# Ray looks for ended blocks ten times a second. From so many blocks a worker on, each has its next
# one at hand meanwhile; of fewer, the worker that starts first would take what others could do.
MANY_BLOCKS = 8


class Pool(Config):
    """What one stage gets: how many workers, and what each of them holds."""

    workers: int | Literal["auto"] = "auto"  # auto: as many as the cluster has room for
    cpus: float = Field(1.0, gt=0)
    gpus: float = Field(0.0, ge=0)
    threads: int = Field(1, ge=1)  # of torch, OpenMP and the like, in each worker

    def room(self, cpus: float, gpus: float) -> int:
        """How many workers so many CPUs and GPUs hold; no more than it asks for."""
        room = int(cpus // self.cpus)
        if self.gpus > 0:
            room = min(room, int(gpus // self.gpus))
        return room if self.workers == "auto" else min(max(1, self.workers), room)


class Resources(Config):
    """Where stages run."""

    address: str | None = None  # of a running Ray cluster; none: start one on this machine
    cpus: int | None = Field(None, ge=1)  # of the local one; none: all there are
    # This project's wheel, which Ray hands to the nodes of a cluster on which it is not installed.
    wheel: str | None = None
    offline: bool = False  # never ask a hub
    default: Pool = Pool()
    steps: dict[str, Pool] = {}  # by step of the recipe, where it differs from `default`

    def pool(self, step: str) -> Pool:
        """The pool of a step of the recipe."""
        return self.steps.get(step, self.default)


# glibc asks the kernel for large pages: models take and give back memory by the megabyte, and spend
# a tenth of their time on page faults (`gpa bench allocator`).
TUNABLES = "GLIBC_TUNABLES"
LARGE_PAGES = {TUNABLES: "glibc.malloc.hugetlb=1"}
SURROUNDINGS = {**QUIET, **LARGE_PAGES}


def tunables(own: str) -> str:
    """What glibc is told: the user's `own` settings, and large pages where they say nothing of them."""
    large = LARGE_PAGES[TUNABLES]
    return own if large.partition("=")[0] in own else ":".join(filter(None, [own, large]))


@dataclass(frozen=True)
class Job:
    """A stage with the fingerprints that name its artifacts and its inputs."""

    stage: Stage
    fingerprint: str
    inputs: Mapping[str, str]  # stage name -> fingerprint


@dataclass(frozen=True)
class Outcome:
    """What a worker reports of one partition; `wall_s` and `cpu_s` are without `load_s`.

    Of one that was there already, because a worker died later in its block, all is 0. Where storage
    did not give what its artifact is made of, `not_read` says why, by address, and there is none.
    """

    partition: str
    load_s: float  # that its worker took to load its models, at the first partition that needs them
    wall_s: float
    cpu_s: float
    audio_s: float
    peak_mb: float  # memory of the worker, at its highest so far
    retries: int  # times that a worker died on it before
    rows: int
    rejects: int
    not_read: Mapping[str, str]


def _spent_s() -> NDArray[np.float64]:
    """Time of this process so far, by the clock and on the CPU."""
    return np.array([time.perf_counter(), time.process_time()])


class StageWorker:
    """The actor that runs one stage; made once a worker, called once a block of partitions."""

    def __init__(self, job: Job, url: str, run_id: str, threads: int):
        self._job = job
        self._artifacts = ArtifactStore(Store(url))
        self._run_id = run_id
        self._threads = threads
        self._loaded = False
        self._loading_s = np.zeros(2)

    def __call__(self, block: dict[str, Any]) -> dict[str, list[Any]]:
        reports = []
        for partition in block["partition"]:
            reports.append(self._report(str(partition)))
            if reports[-1]["failure"]:  # which ends the run: what follows is not begun
                break
        return {column: [report[column] for report in reports] for column in reports[0]}

    def _report(self, partition: str) -> dict[str, Any]:
        """Make a partition's artifact; the fields of its Outcome, and why there is none."""
        began_s, self._loading_s = _spent_s(), np.zeros(2)
        artifact, retries, failure = None, 0, ""
        not_read: Mapping[str, str] = {}
        try:
            artifact, retries = self._process(partition)
        except NotReadError as error:
            not_read = error.why
        except Exception:
            failure = traceback.format_exc()
        wall_s, cpu_s = (_spent_s() - began_s - self._loading_s).tolist()
        return {
            "partition": partition,
            "load_s": float(self._loading_s[0]),
            "wall_s": wall_s,
            "cpu_s": cpu_s,
            "audio_s": artifact.audio_s if artifact else 0.0,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "retries": retries,
            "rows": artifact.table.num_rows if artifact else 0,
            "rejects": len(artifact.rejects) if artifact else 0,
            "not_read": json.dumps(not_read),
            "failure": failure,
        }

    def _process(self, partition: str) -> tuple[Artifact | None, int]:
        """The partition's artifact, None where it was there already; and the deaths it cost."""
        stage, fingerprint = self._job.stage, self._job.fingerprint
        if self._artifacts.exists(stage.name, fingerprint, partition):
            return None, 0  # made before this block was scheduled anew
        attempts = PartitionAttempts(
            self._artifacts.store, f"{stage.name}/{fingerprint}", partition, self._run_id
        )
        try:
            if attempts.hopeless:
                raise UserError(
                    f"Stage {stage.name}: {attempts.deaths} workers died on {partition}, and no "
                    "recording in it is to blame; give fewer workers more memory each "
                    "(resources.steps in pipelines.yaml), then start the same command again."
                )
            with self._artifacts.forgetting_damage():
                inputs = {
                    name: self._artifacts.read(name, upstream, partition)
                    for name, upstream in self._job.inputs.items()
                }
                if not self._loaded and stage.needs_models(inputs):
                    began_s = _spent_s()
                    stage.load()
                    _hold_torch_to(self._threads)
                    self._loading_s = _spent_s() - began_s
                    self._loaded = True
                artifact = stage.process(partition, inputs, attempts)
            self._artifacts.write(stage.name, fingerprint, partition, artifact)
        except MemoryError:
            # As the kernel's killer would have it: the next attempt finds out on what it died.
            os.kill(os.getpid(), signal.SIGKILL)
            raise
        finally:
            attempts.finished()
        return artifact, attempts.deaths


def _hold_torch_to(threads: int) -> None:
    """Keep torch, where a model brought it in, to its share of the cores.

    The environment does so for OpenMP; importing torch for stages without it costs seconds.
    """
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


class Engine:
    """A Ray cluster, joined or started here, as a context manager."""

    def __init__(self, resources: Resources):
        self._resources = resources
        self._environment = {
            **SURROUNDINGS,
            TUNABLES: tunables(os.environ.get(TUNABLES, "")),
            **({"HF_HUB_OFFLINE": "1"} if resources.offline else {}),
        }
        self._inherited: dict[str, str] = {}

    def __enter__(self) -> Engine:
        # Ray reads these when it starts and hands them to its workers.
        os.environ.update(self._environment)
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        local = self._resources.address is None
        if local:
            self._inherited = dict(os.environ)
        try:
            with without_native_chatter(), self._shipped() as environment:
                ray.init(
                    address=self._resources.address or "local",
                    num_cpus=self._resources.cpus if local else None,
                    include_dashboard=False if local else None,
                    runtime_env=environment,
                    configure_logging=True,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"Ray can't be reached at {self._resources.address!r}: {error}; "
                "start it with `ray start` or leave resources.address out."
            ) from None
        # Ray prints what it thinks of a dead worker into our output, and has no option against
        # it; the line of a stage says how many died.
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        return self

    def __exit__(self, *exception: object) -> None:
        import ray

        ray.shutdown()

    @contextmanager
    def _shipped(self) -> Iterator[dict[str, Any] | None]:
        """Ray's environment with the wheel's package, until Ray has taken it; None without a wheel.

        Ray installs a wheel that it is given with all its dependencies, anew on every node and in
        every run: gigabytes, of other versions than the image has. So it gets what is inside.
        Raises UserError where the wheel is none.
        """
        if self._resources.wheel is None:
            yield None
            return
        wheel = Path(self._resources.wheel).expanduser()
        with tempfile.TemporaryDirectory() as folder:
            remedy = "make it with `pip wheel --no-deps -w dist .`"
            try:
                with zipfile.ZipFile(wheel) as package:
                    package.extractall(folder)
            except (OSError, zipfile.BadZipFile) as error:
                raise UserError(
                    f"resources.wheel {wheel} can't be read ({error}); {remedy}."
                ) from None
            if not (Path(folder) / "gpa").is_dir():
                raise UserError(f"resources.wheel {wheel} is not this project's; {remedy}.")
            yield {"py_modules": [str(Path(folder) / "gpa")]}

    def workers(self, pool: Pool, items: int) -> int:
        """How many workers a pool really gets for so many items."""
        import ray

        have = ray.cluster_resources()
        room = pool.room(have.get("CPU", 1), have.get("GPU", 0))
        if room < 1:
            raise UserError(
                f"A worker needs {pool.cpus:g} CPUs and {pool.gpus:g} GPUs, and Ray has "
                f"{have.get('CPU', 0):g} and {have.get('GPU', 0):g}; lower resources in "
                "pipelines.yaml or join a larger cluster."
            )
        return max(1, min(room, items))

    def run(self, job: Job, partitions: Sequence[str], url: str, run_id: str) -> Iterator[Outcome]:
        """Make the artifacts of `partitions`, longest first if so ordered; yields as blocks end.

        Raises UserError when a stage fails as a whole on some partition: the rest has been
        committed and is not done again.
        """
        pool = self._resources.pool(job.stage.step)
        items = pa.table({"partition": pa.array(partitions, pa.string())})
        arguments = (job, url, run_id, pool.threads)
        for row in self.map(StageWorker, arguments, items, pool, job.stage.environment):
            if row["failure"]:
                raise UserError(_explain(job.stage.name, row["partition"], row["failure"]))
            del row["failure"]
            yield Outcome(**{**row, "not_read": json.loads(row["not_read"])})

    def map(
        self,
        worker: type,
        arguments: tuple[Any, ...],
        items: pa.Table,
        pool: Pool,
        environment: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Call `worker(*arguments)({column: [values]})` on a fixed pool of actors; yields rows.

        Each call is handed a block of `items`, in their order: one item each, until there are
        more than BLOCKS_PER_WORKER for a worker. The actors run in the interpreter `environment`,
        where one is named.

        Ray Data starts a worker that died again, and its whole block with it, without end: items
        may be handed out that were done before, and the guard in `gpa.runtime.attempts` finds the
        recording that keeps killing a worker. Raises UserError where a worker raises one.
        """
        import ray

        if not len(items):
            return
        variables = {**self._environment, "OMP_NUM_THREADS": str(pool.threads)}
        # Where workers have them already none is named: with any, Ray starts each worker twice over.
        missing = {
            name: value for name, value in variables.items() if self._inherited.get(name) != value
        }
        runtime_env: dict[str, Any] = {"env_vars": missing} if missing else {}
        if environment is not None:
            # Ray hands it to a shell.
            runtime_env["py_executable"] = shlex.quote(interpreter.usable(environment))
        workers = self.workers(pool, len(items))
        size = math.ceil(len(items) / (workers * BLOCKS_PER_WORKER))
        blocks = [items.slice(first, size) for first in range(0, len(items), size)]
        # Not `from_arrow`, which asks tasks for what is known of the blocks: more workers to start.
        dataset = ray.data.from_blocks(blocks).map_batches(
            worker,
            batch_size=None,  # a block as it is
            compute=ray.data.ActorPoolStrategy(
                size=workers,
                max_tasks_in_flight_per_actor=2 if len(blocks) >= MANY_BLOCKS * workers else 1,
            ),
            fn_constructor_args=arguments,
            num_cpus=pool.cpus,
            num_gpus=pool.gpus or None,
            runtime_env=runtime_env or None,
        )
        try:
            yield from dataset.iter_rows()
        except ray.exceptions.RayError as error:
            # What a worker had to say to a person, out of the errors that Ray wraps around it.
            cause: BaseException | None = error
            while cause is not None:
                if type(cause) is UserError:
                    raise cause from None
                cause = getattr(cause, "cause", None) or cause.__cause__
            raise


def _explain(stage: str, partition: str, failure: str) -> str:
    last = failure.strip().splitlines()[-1]
    name, _, message = last.partition(": ")
    if name.endswith("UserError"):
        return message
    return f"Stage {stage} failed on {partition}; nothing done is lost, run again after mending it:\n{failure}"
