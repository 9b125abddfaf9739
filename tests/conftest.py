"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

SHARED = Path(__file__).resolve().parents[2] / "shared"

# Property tests search the same examples on every run, and never fail for being slow.
settings.register_profile("gpa", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("gpa")

# One thread a process: tests share cores with each other and with the workers they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nothing in the tests may look for a hub, and no library may phone home.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")


# `make test` has the table of faults too, where only this conftest is read from the beginning.
pytest_plugins = ["tests.faults.table"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: no process begins with one when the others are at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-seed", type=int, default=1, help="Draws when and where faults strike")


def _shared(folder: str) -> Path:
    path = SHARED / folder
    if not path.is_dir():
        pytest.skip(f"shared/{folder} does not lie beside the repository")
    return path


@pytest.fixture(scope="session")
def shared_speech() -> Path:
    """Real speech with ground truth; its README says what and whose."""
    return _shared("speech")


@pytest.fixture(scope="session")
def shared_fixtures() -> Path:
    """Reference outputs of the published tokenizers."""
    return _shared("fixtures")
