"""Every denoiser with its real library; one whose library is elsewhere is skipped here."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from gpa.curation.models.denoise.deepfilternet import DeepFilterNet, DeepFilterNetConfig
from gpa.curation.models.denoise.mossformer2 import MossFormer2, MossFormer2Config
from gpa.curation.models.protocols import Denoiser
from tests.curation.models.random_mossformer2 import mossformer2
from tests.scratch import scratch


@cache
def random_checkpoint() -> str:
    """Made once a process: 220 MB."""
    pytest.importorskip(
        "clearvoice", reason="has an interpreter of its own: test_mossformer2.py runs this there"
    )
    return str(mossformer2(scratch("mossformer2") / "random"))


MAKERS: dict[str, Callable[[], Denoiser]] = {
    "deepfilternet": lambda: DeepFilterNet(DeepFilterNetConfig()),
    "mossformer2": lambda: MossFormer2(
        MossFormer2Config(model="mossformer2", weights=random_checkpoint())
    ),
}


@pytest.fixture(scope="session", params=sorted(MAKERS))
def make(request: pytest.FixtureRequest) -> Callable[[], Denoiser]:
    """Makes and loads one of the denoisers, each in turn."""

    def loaded() -> Denoiser:
        adapter = MAKERS[request.param]()
        adapter.load()
        return adapter

    return loaded


@pytest.fixture(scope="session")
def denoiser(make: Callable[[], Denoiser]) -> Denoiser:
    return make()
