"""Faults in the middle of real runs: after each, the same bytes come out and the books balance.

Each test starts the real command with light models from the state just before the stage in which
its fault strikes (`disturbed.py`), and says when by a recording, not by a clock (`mines.py`).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import yaml
from ray.cluster_utils import Cluster

from gpa.curation import run
from gpa.runtime import record
from gpa.runtime.storage import Store
from tests.faults.disturbed import (
    STAGES,
    Disturbed,
    Moment,
    Struck,
    Survived,
    Undisturbed,
    ended,
    kill,
    retries,
)
from tests.runs import pipelines

pytestmark = [pytest.mark.slow, pytest.mark.faults]


def test_the_undisturbed_run_keeps_and_drops(undisturbed: Undisturbed):
    assert run.verify(str(undisturbed.run.out)) == []
    manifest = pq.read_table(undisturbed.run.out / "curated" / "manifest.parquet")
    rejected = pq.read_table(undisturbed.run.out / "rejected.parquet")
    assert manifest.num_rows > 3
    assert set(rejected["reason"].to_pylist()) == {"non_speech", "disagreement"}


@pytest.mark.faults("driver killed")
def test_a_killed_driver(struck: Struck, survived: Survived):
    at, disturbed = struck
    driver, _ = disturbed.hold(at)
    kill(driver, disturbed.out)
    disturbed.curate()
    survived(disturbed)


@pytest.fixture(scope="module")
def dying(
    undisturbed: Undisturbed,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Disturbed, dict[str, str], str]:
    """A run on which workers die once each of three stages, by fault; and what it printed."""
    draw = random.Random(request.config.getoption("--fault-seed"))
    first, *later = sorted(draw.sample(STAGES[2:], 3), key=STAGES.index)
    disturbed = undisturbed.before(first, tmp_path_factory.mktemp("dying"))
    stages = dict(zip(draw.sample(["out-of-memory", "cut-write"], 2), later, strict=True))
    for fault, stage in stages.items():
        disturbed.lay(fault, undisturbed.moment(draw, (stage,)))
    driver, worker = disturbed.hold(undisturbed.moment(draw, (first,)))
    os.kill(worker, signal.SIGKILL)
    return disturbed, {"killed": first, **stages}, ended(driver)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("killed", marks=pytest.mark.faults("worker killed")),
        pytest.param("out-of-memory", marks=pytest.mark.faults("out of memory, once")),
        pytest.param("cut-write", marks=pytest.mark.faults("write cut short")),
    ],
)
def test_a_worker_that_dies_once_in_its_work(
    fault: str, dying: tuple[Disturbed, dict[str, str], str], survived: Survived
):
    disturbed, stages, printed = dying
    assert retries(disturbed.out, stages[fault]) == 1
    assert printed.count("workers that died and were replaced: 1") == 3
    assert "raylet" not in printed, printed
    assert list(disturbed.out.rglob("*.partial")) == []
    survived(disturbed)


@pytest.mark.faults("segfault and out of memory, every time")
def test_recordings_that_kill_their_workers_every_time(
    undisturbed: Undisturbed,
    moment: random.Random,
    record_property: Callable[[str, object], None],
    tmp_path: Path,
):
    """The third start leaves each out, by name; all others come out as if nothing had been."""
    deadly = [moment.choice(partition) for partition in undisturbed.partitions()[:2]]
    disturbed = undisturbed.before("utterances", tmp_path)
    for fault, recording in zip(("segfault", "out-of-memory"), deadly, strict=True):
        disturbed.lay(fault, Moment("utterances", recording), stays=True)
    printed = disturbed.curate()
    assert "2 quarantined" in printed
    assert retries(disturbed.out, "utterances") == 4
    assert run.verify(str(disturbed.out)) == []
    quarantined = [row for row in rejected(disturbed) if row["reason"] == "quarantined"]
    assert {row["recording_id"] for row in quarantined} == set(deadly)
    lost, duplicated = undisturbed.lost_and_duplicated(disturbed.out, deadly)
    record_property("lost", lost)
    record_property("duplicated", duplicated)
    assert (lost, duplicated) == (0, 0)
    assert samples(disturbed, deadly) == samples(undisturbed.run, deadly)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which can be made as small as what is on it."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


@pytest.mark.faults("disk full")
def test_a_disk_that_fills(
    undisturbed: Undisturbed, moment: random.Random, survived: Survived, small_disk: Path
):
    at = undisturbed.moment(moment)
    disturbed = undisturbed.before(at.stage, small_disk)
    driver, _ = disturbed.hold(at)
    resize(small_disk, str(shutil.disk_usage(small_disk).used))
    disturbed.release(at)
    *_, last = ended(driver, status=2).splitlines()
    assert last.startswith("gpa: There is no room left in")
    assert "only 0.0 GB are free" in disturbed.curate(status=2)
    resize(small_disk, "4g")
    disturbed.curate()
    survived(disturbed)


def flip(file: Path, draw: random.Random) -> None:
    data = bytearray(file.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    file.write_bytes(data)


def cut(file: Path, draw: random.Random) -> None:
    file.write_bytes(file.read_bytes()[: draw.randrange(file.stat().st_size)])


@pytest.mark.faults("files flipped and cut off")
def test_damage_to_a_finished_run(
    undisturbed: Undisturbed, moment: random.Random, survived: Survived, tmp_path: Path
):
    shutil.copytree(undisturbed.run.out, tmp_path / "out")
    disturbed = undisturbed.copy(tmp_path / "out")
    harmed = {
        moment.choice(sorted(disturbed.out.glob(pattern))): harm
        for pattern, harm in (
            ("normalized/*/*.tar", flip),
            ("utterances/*/*.rejects.parquet", flip),
            ("curated/*.tar", flip),
            ("quality/*/*.parquet", cut),
            ("alignment/*/*.parquet", cut),
        )
    }
    for file, harm in harmed.items():
        harm(file, moment)
    printed = ended(disturbed.start(("verify", disturbed.out, "--repair")), status=1)
    for file in harmed:
        assert str(file.relative_to(disturbed.out)) in printed
    disturbed.curate()
    survived(disturbed)


@pytest.mark.faults("damage met by a run")
def test_damage_that_a_run_comes_across(
    undisturbed: Undisturbed, moment: random.Random, survived: Survived, tmp_path: Path
):
    disturbed = undisturbed.before("alignment", tmp_path)
    harmed = moment.choice(sorted(disturbed.out.glob("utterances/*/*.tar")))
    flip(harmed, moment)
    *_, last = disturbed.curate(status=2).splitlines()
    assert last.startswith(f"gpa: {harmed.relative_to(disturbed.out)} has other bytes")
    assert last.endswith("the same command now makes it again.")
    disturbed.curate()
    survived(disturbed)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes of one CPU, each with its own Ray daemon, as on two machines."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes
    nodes.shutdown()


@pytest.mark.faults("node's daemon killed")
def test_the_daemon_of_a_second_node_is_killed(
    cluster: Cluster,
    undisturbed: Undisturbed,
    moment: random.Random,
    survived: Survived,
    tmp_path: Path,
):
    at = undisturbed.moment(moment)
    disturbed = undisturbed.before(at.stage, tmp_path)
    disturbed.config = joining(cluster, disturbed.config, tmp_path)
    # Both nodes are at work, on a partition each, when one of them goes.
    both = [Moment(at.stage, recordings[0]) for recordings in undisturbed.partitions()[:2]]
    for each in both:
        disturbed.lay("hold", each)
    process = disturbed.start()
    daemons = {psutil.Process(disturbed.held(process, each)).ppid(): each for each in both}
    head, second = (
        node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()
    )
    assert daemons.keys() == {head, second}
    os.kill(second, signal.SIGKILL)
    disturbed.release(daemons[head])
    ended(process)
    survived(disturbed)


def joining(cluster: Cluster, config: Path, folder: Path) -> Path:
    """A copy of the config that runs on the cluster."""
    laptop = yaml.safe_load(config.read_text())["pipelines"]["laptop"]
    del laptop["resources"]["cpus"]
    laptop["resources"] |= {"address": cluster.address, "default": {"workers": 2}}
    return pipelines(folder, lambda settings: settings.update(laptop))


@pytest.fixture
def faketime() -> Path:
    """The library that gives a process and all that it starts another clock."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        pytest.skip("there is no libfaketime; it is a package of Debian")
    return libraries[0]


@pytest.mark.faults("clock jumps two years back")
def test_a_clock_that_jumps_back_between_two_starts(
    struck: Struck, survived: Survived, faketime: Path
):
    """In the future a run is killed, in the past it goes on: Ray and all have that clock."""
    at, disturbed = struck
    future, past = ({"LD_PRELOAD": str(faketime), "FAKETIME": day} for day in ("+365d", "-365d"))
    driver, _ = disturbed.hold(at, future)
    kill(driver, disturbed.out)
    begun = started(disturbed)
    ended(disturbed.start(environment=past))
    assert started(disturbed) < begun
    survived(disturbed)


def started(disturbed: Disturbed) -> str:
    """When the last run began, as its record says."""
    return (record.read(Store(str(disturbed.out))) or {})["started_at"]


def rejected(disturbed: Disturbed) -> list[dict]:
    return pq.read_table(disturbed.out / "rejected.parquet").to_pylist()


def samples(disturbed: Disturbed, without: list[str]) -> dict[str, bytes]:
    """The files in all shards, but for those of some recordings."""
    found = {}
    for shard in sorted((disturbed.out / "curated").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                if not member.name.startswith(tuple(without)):
                    file = tar.extractfile(member)
                    assert file is not None
                    found[member.name] = file.read()
    return found
