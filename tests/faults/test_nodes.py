"""A node of a cluster dies in the middle of a run: the others end it, with the same bytes."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from ray.cluster_utils import Cluster

from tests.faults.disturbed import Moment, Survived, Undisturbed, ended
from tests.runs import pipelines

pytestmark = [pytest.mark.slow, pytest.mark.faults]


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
    laptop["resources"]["address"] = cluster.address
    return pipelines(folder, lambda settings: settings.update(laptop))
