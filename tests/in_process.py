"""Commands in this process: the real driver, stages and storage, with light models and no Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pyarrow as pa
import pytest
from rich.console import Console
from typer.testing import CliRunner

from gpa.curation import run
from gpa.curation.pipeline import PipelineConfig, read_pipeline
from gpa.curation.prepare import done, plan
from gpa.runtime import cli
from gpa.runtime.execution import Engine, Pool
from gpa.runtime.stage import Stage
from tests.faults import light
from tests.runs import pipelines

# Called with a worker's class and an item, when the worker is done with it.
Watch = Callable[[type, dict[str, Any]], None]
QUIET = Console(quiet=True)


class Here(Engine):
    """An engine whose one worker is in this process."""

    watch: Watch = staticmethod(lambda worker, item: None)

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def workers(self, pool: Pool, items: int) -> int:
        return 1

    def map(
        self, worker: type, arguments: tuple, items: pa.Table, pool: Pool, environment=None
    ) -> Iterator[dict[str, Any]]:
        called = worker(*arguments) if len(items) else None
        for item in items.to_pylist():
            done = called({name: [value] for name, value in item.items()})
            yield {name: values[0] for name, values in done.items()}
            type(self).watch(worker, item)


def settings(
    folder: Path, max_pwer: float = 0.15, partition_minutes: float = 0.25, **resources: Any
) -> PipelineConfig:
    """`laptop` for light models; by default two recordings of `light.write_corpus` a partition."""

    def change(laptop: dict[str, Any]) -> None:
        light.settings(laptop)
        laptop["ingest"]["partition_minutes"] = partition_minutes
        laptop["consensus"]["max_pwer"] = max_pwer
        laptop["resources"] |= resources

    return read_pipeline(pipelines(folder, change), "laptop")


def gpa(*arguments: str | Path) -> str:
    """What the command prints; it must end well, and what it raises is raised."""
    done = CliRunner().invoke(cli.app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def without_ray(module: ModuleType):
    """A context in which the runs of a module have their worker in this process."""
    return mock.patch.object(module, "Engine", Here)


@contextlib.contextmanager
def light_runs(out: Path, watch: Watch = Here.watch) -> Iterator[None]:
    """Runs in this context are of this kind; `watch` sees every item that is done."""

    def stages(config: PipelineConfig) -> list[Stage]:
        return light.light_stages(config, out.parent / "no mines")

    with contextlib.ExitStack() as patches:
        for module in (run, plan):
            patches.enter_context(without_ray(module))
        for module in (run, done):
            patches.enter_context(mock.patch.object(module, "build_stages", stages))
        patches.enter_context(mock.patch.object(Here, "watch", staticmethod(watch)))
        yield


def curate(
    corpus: Path,
    out: Path,
    config: PipelineConfig,
    watch: Watch = Here.watch,
    console: Console = QUIET,
) -> dict:
    """What `gpa curate` returns, of a light run in this process."""
    with light_runs(out, watch):
        return run.curate(str(corpus), str(out), "light", config, console)


@pytest.fixture(scope="session")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of six recordings, which are three partitions."""
    folder = tmp_path_factory.mktemp("talks")
    light.write_corpus(folder, 6, seed=0)
    return folder


@pytest.fixture(scope="session")
def whole(talks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A light run over them, which no test changes."""
    folder = tmp_path_factory.mktemp("whole")
    curate(talks, folder / "out", settings(folder))
    return folder / "out"
