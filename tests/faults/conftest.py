"""What all faults need: a corpus, and the run that nothing disturbed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.faults import light
from tests.faults.disturbed import Disturbed, Struck, Survived, Undisturbed
from tests.runs import pipelines

RECORDINGS = 6


def _settings(laptop: dict[str, Any]) -> None:
    """Light models, and three partitions of two recordings."""
    light.settings(laptop)
    laptop["ingest"]["partition_minutes"] = 0.25


def _two_workers(laptop: dict[str, Any]) -> None:
    _settings(laptop)
    laptop["resources"] |= {"cpus": 2, "default": {"workers": 2}}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    corpus = folder / "corpus"
    corpus.mkdir()
    light.write_corpus(corpus, RECORDINGS, seed=0)
    run = Disturbed(corpus, pipelines(folder, _two_workers), folder / "out", folder / "mines")
    run.curate()
    pipelines(folder, _settings)  # one worker gives what two do, so the disturbed have one
    recordings = pq.read_table(run.out / "corpus.parquet")["recording_id"].to_pylist()
    return Undisturbed(run, tuple(recordings))


@pytest.fixture
def moment(request: pytest.FixtureRequest) -> random.Random:
    """Draws where a fault strikes: by the seed and the test, so that each test has its own."""
    return random.Random(f"{request.config.getoption('--fault-seed')} {request.node.name}")


@pytest.fixture
def struck(undisturbed: Undisturbed, moment: random.Random, tmp_path: Path) -> Struck:
    """When the fault strikes, and a run that is about to come there."""
    at = undisturbed.moment(moment)
    return at, undisturbed.before(at.stage, tmp_path)


@pytest.fixture(autouse=True)
def named(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Writes into the table what `@pytest.mark.faults` calls the fault of a test."""
    if names := request.node.get_closest_marker("faults").args:
        record_property("fault", *names)


@pytest.fixture
def survived(undisturbed: Undisturbed, record_property: Callable[[str, object], None]) -> Survived:
    """Checks a run that was disturbed against the one that was not."""

    def check(disturbed: Disturbed) -> None:
        lost, duplicated = undisturbed.lost_and_duplicated(disturbed.out)
        record_property("lost", lost)
        record_property("duplicated", duplicated)
        undisturbed.assert_equal(disturbed.out)

    return check
