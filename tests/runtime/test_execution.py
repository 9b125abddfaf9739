"""Stages on a real Ray: artifacts are made, crashes are contained, failures are explained."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pydantic
import pytest

from gpa.runtime import execution
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.config import Config
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Engine, Job, Pool, Resources
from gpa.runtime.stage import Artifact, Attempts, Reject, Stage
from gpa.runtime.storage import Store
from tests.runs import ROOT

pytestmark = pytest.mark.slow


class DeadlyConfig(Config):
    kills: str = ""  # recording that kills the worker, as a segfault would
    raises: str = ""  # partition on which the stage fails as a whole


class DeadlyStage(Stage):
    step = "segment"
    config: DeadlyConfig

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        if partition == self.config.raises:
            raise UserError("The model of this stage is gone; run `make setup`.")
        made, rejects = [], []
        for recording in (f"{partition}-a", f"{partition}-b", f"{partition}-c"):
            if recording in attempts.quarantined:
                rejects.append(Reject(recording, "quarantined", 1.0))
                continue
            with attempts.on([recording]):
                if recording == self.config.kills:
                    os.kill(os.getpid(), signal.SIGKILL)
                made.append({"recording_id": recording})
        return Artifact(pa.Table.from_pylist(made), rejects=rejects, audio_s=3.0)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(Resources(cpus=2, offline=True, default=Pool(workers=2))) as started:
        yield started


PARTITIONS = ["p0", "p1", "p2"]


def run(engine: Engine, folder: Path, config: DeadlyConfig):
    job = Job(DeadlyStage("utterances", config), "fp", {})
    outcomes = list(engine.run(job, PARTITIONS, str(folder), "run"))
    return {outcome.partition: outcome for outcome in outcomes}


def test_every_partition_becomes_an_artifact(engine: Engine, tmp_path: Path):
    outcomes = run(engine, tmp_path, DeadlyConfig())
    assert outcomes.keys() == set(PARTITIONS)
    assert ArtifactStore(Store(str(tmp_path))).done("utterances", "fp", PARTITIONS) == set(
        PARTITIONS
    )
    assert {outcome.rows for outcome in outcomes.values()} == {3}


@pytest.fixture
def blocks_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """[p0, p1] and [p2], as where there are very many partitions."""
    monkeypatch.setattr(execution, "BLOCKS_PER_WORKER", 1)


def test_a_recording_that_kills_its_worker_twice_costs_only_itself(
    engine: Engine, tmp_path: Path, blocks_of_two: None
):
    outcomes = run(engine, tmp_path, DeadlyConfig(kills="p1-b"))
    artifacts = ArtifactStore(Store(str(tmp_path)))
    assert artifacts.done("utterances", "fp", PARTITIONS) == set(PARTITIONS)
    assert artifacts.rejects("utterances", "fp", "p1")["recording_id"].to_pylist() == ["p1-b"]
    assert {name: outcome.retries for name, outcome in outcomes.items()} == {
        "p0": 0,
        "p1": 2,
        "p2": 0,
    }
    assert outcomes["p0"].rows == 0  # found, not made again
    assert (outcomes["p1"].rows, outcomes["p1"].rejects) == (2, 1)
    assert artifacts.table("utterances", "fp", "p1")["recording_id"].to_pylist() == ["p1-a", "p1-c"]
    assert not artifacts.store.names("attempts/utterances/fp")


def test_after_a_failure_the_rest_of_the_block_is_not_begun(
    engine: Engine, tmp_path: Path, blocks_of_two: None
):
    with pytest.raises(UserError, match="The model of this stage is gone"):
        run(engine, tmp_path, DeadlyConfig(raises="p0"))
    assert "p1" not in ArtifactStore(Store(str(tmp_path))).done("utterances", "fp", PARTITIONS)


def test_the_users_own_settings_of_glibc_stay():
    assert execution.tunables("") == "glibc.malloc.hugetlb=1"
    assert execution.tunables("glibc.malloc.check=3") == (
        "glibc.malloc.check=3:glibc.malloc.hugetlb=1"
    )
    assert execution.tunables("glibc.malloc.hugetlb=0") == "glibc.malloc.hugetlb=0"


class Environment:
    """Says in which process a worker is, and what it finds in its environment."""

    def __call__(self, batch: dict) -> dict:
        names = (*execution.SURROUNDINGS, "HF_HUB_OFFLINE", "OMP_NUM_THREADS")
        return {"process": [os.getpid()], "variables": [[os.environ.get(name) for name in names]]}


def test_every_worker_is_a_new_process_with_the_environment_it_should_have(engine: Engine):
    processes = set()
    for threads in (1, 1, 2):
        (row,) = engine.map(
            Environment, (), pa.table({"partition": ["p"]}), Pool(workers=1, threads=threads)
        )
        assert row["variables"] == [*execution.SURROUNDINGS.values(), "1", str(threads)]
        processes.add(row["process"])
    assert len(processes) == 3


class Where:
    """Says from where a worker has this project, and what a library it needs."""

    def __call__(self, batch: dict) -> dict:
        from gpa.runtime import stage

        return {"files": [[stage.__file__, pydantic.__file__]]}


def test_a_cluster_gets_the_project_out_of_the_wheel_and_keeps_its_own_libraries(tmp_path: Path):
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("gpa-*.whl")
    shipped = zipfile.ZipFile(wheel).read("gpa/pipelines.yaml")
    assert shipped == (ROOT / "pipelines.yaml").read_bytes()
    # In a process of its own: this one has a Ray already.
    program = (
        "import json, pyarrow as pa\n"
        "from gpa.runtime.execution import Engine, Pool, Resources\n"
        "from tests.runtime.test_execution import Where\n"
        f"with Engine(Resources(cpus=1, wheel={str(wheel)!r})) as engine:\n"
        "    row = next(engine.map(Where, (), pa.table({'partition': ['p']}), Pool()))\n"
        "    print(json.dumps(list(row['files'])))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    project, library = json.loads(found.stdout)
    assert "py_modules_files" in project
    assert library == pydantic.__file__


def nothing(path: Path) -> None:
    path.unlink(missing_ok=True)


def no_archive(path: Path) -> None:
    path.write_text("a note")


def of_another_project(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("other/__init__.py", "")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (nothing, "can't be read"),
        (no_archive, "can't be read"),
        (of_another_project, "is not this project's"),
    ],
)
def test_what_is_not_our_wheel_is_a_sentence(make: Callable, says: str, tmp_path: Path):
    make(tmp_path / "gpa.whl")
    with (
        pytest.raises(UserError, match=f"{says}.*make it with `pip wheel"),
        Engine(Resources(wheel=str(tmp_path / "gpa.whl"))),
    ):
        pass


def test_a_pool_that_the_cluster_has_no_room_for_is_refused(engine: Engine):
    with pytest.raises(UserError, match="A worker needs 64 CPUs"):
        engine.workers(Pool(cpus=64), 1)
