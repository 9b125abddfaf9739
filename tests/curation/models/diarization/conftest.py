"""Real diarizers and real people, loaded once for all tests of a process."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gpa.curation.audio import resample
from gpa.curation.models.diarization.pyannote import Pyannote, PyannoteConfig
from gpa.curation.models.diarization.sortformer import Sortformer, SortformerConfig
from gpa.curation.models.protocols import Diarizer
from gpa.curation.models.weights import wheel_file
from tests.curation.models import tiny_nemo
from tests.curation.models.diarization import pipeline_folders
from tests.scratch import scratch

DIARIZERS: dict[str, Callable[[], Diarizer]] = {
    "laptop": lambda: Pyannote(PyannoteConfig()),
    "pyannote-3.1": lambda: Pyannote(PyannoteConfig(pipeline=checkpoint("3.1"))),
    "pyannote-community-1": lambda: Pyannote(PyannoteConfig(pipeline=checkpoint("community-1"))),
    # Random weights: whom they hear means nothing, how they are called is as with the published.
    "sortformer-v1": lambda: Sortformer(
        SortformerConfig(version="v1", weights=checkpoint("sortformer-v1"))
    ),
    "sortformer-v2": lambda: Sortformer(SortformerConfig(weights=checkpoint("sortformer-v2"))),
}


@cache
def _checkpoints() -> dict[str, Path]:
    """All made before any is restored: NeMo remembers a restored file and looks into it again."""
    folder = scratch("tiny")
    return {
        "sortformer-v1": tiny_nemo.sortformer(folder / "sortformer-v1", streaming=False),
        "sortformer-v2": tiny_nemo.sortformer(folder / "sortformer-v2", streaming=True),
        "3.1": pipeline_folders.layout_3_1(folder / "3.1"),
        "community-1": pipeline_folders.layout_community_1(folder / "community-1"),
    }


def checkpoint(name: str) -> str:
    """A checkpoint or pipeline folder, made at the first call."""
    return str(_checkpoints()[name])


@cache
def loaded(name: str) -> Diarizer:
    """A diarizer that all tests of a process share."""
    diarizer = DIARIZERS[name]()
    diarizer.load()
    return diarizer


@pytest.fixture(params=DIARIZERS)
def any_diarizer(request: pytest.FixtureRequest) -> Diarizer:
    """Every diarizer in turn, loaded."""
    return loaded(request.param)


@pytest.fixture(scope="session")
def conversation() -> np.ndarray:
    """28 s of two people who take turns, 16 kHz."""
    path = wheel_file("moonshine-voice", "moonshine_voice/assets/endgame_nagg_nell.wav")
    return resample(*soundfile.read(path, dtype="float32"), 16000)
