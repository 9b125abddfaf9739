"""What all faults need: a corpus, the run that nothing disturbed, and the table at the end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.faults import light
from tests.faults.disturbed import Disturbed, Undisturbed
from tests.runs import pipelines

RECORDINGS = 6

Survived = Callable[[Disturbed], None]


def _settings(laptop: dict[str, Any]) -> None:
    """Light models, and three partitions of two recordings."""
    light.settings(laptop)
    laptop["ingest"]["partition_minutes"] = 0.25


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    corpus = folder / "corpus"
    corpus.mkdir()
    light.write_corpus(corpus, RECORDINGS, seed=0)
    run = Disturbed(corpus, pipelines(folder, _settings), folder / "out", folder / "mines")
    run.curate()
    recordings = pq.read_table(run.out / "corpus.parquet")["recording_id"].to_pylist()
    return Undisturbed(run, tuple(recordings))


@pytest.fixture
def moment(request: pytest.FixtureRequest) -> random.Random:
    """Draws where a fault strikes: by the seed and the test, so that each test has its own."""
    return random.Random(f"{request.config.getoption('--fault-seed')} {request.node.name}")


@pytest.fixture
def injected(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Says in the table that a fault of that name is injected."""
    return lambda name: record_property("fault", name)


@pytest.fixture
def survived(undisturbed: Undisturbed, record_property: Callable[[str, object], None]) -> Survived:
    """Checks a run that was disturbed against the one that was not."""

    def check(disturbed: Disturbed) -> None:
        lost, duplicated = undisturbed.lost_and_duplicated(disturbed.out)
        record_property("lost", lost)
        record_property("duplicated", duplicated)
        undisturbed.assert_equal(disturbed.out)

    return check


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table: one line a fault, of those tests that inject one."""
    lines = list(_table(terminalreporter))
    if lines:
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.write_line(line)


def _table(terminalreporter: pytest.TerminalReporter) -> Iterator[str]:
    found: dict[str, list[int]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            properties = dict(report.user_properties)
            if report.when != "call" or "fault" not in properties:
                continue
            sums = found.setdefault(properties["fault"], [0, 0, 0, 0])
            sums[0] += 1
            sums[1] += outcome == "passed"
            sums[2] += properties.get("lost", 0)
            sums[3] += properties.get("duplicated", 0)
    if not found:
        return
    head = ("fault", "injected", "survived", "utterances lost", "duplicated")
    width = max(map(len, found))
    yield f"{head[0]:<{width}}  " + "  ".join(head[1:])
    total = [sum(column) for column in zip(*found.values(), strict=True)]
    for name, sums in [*found.items(), ("all", total)]:
        columns = (f"{value:>{len(title)}}" for value, title in zip(sums, head[1:], strict=True))
        yield f"{name:<{width}}  " + "  ".join(columns)
