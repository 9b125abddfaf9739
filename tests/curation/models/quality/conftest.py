"""Every scorer with its real weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gpa.curation.models.protocols import QualityScorer
from gpa.curation.models.quality.distillmos import DistillMOS, DistillMOSConfig
from gpa.curation.models.quality.dnsmos import DNSMOS, DNSMOSConfig

MAKERS: dict[str, Callable[[], QualityScorer]] = {
    "distillmos": lambda: DistillMOS(DistillMOSConfig(model="distillmos")),
    "dnsmos": lambda: DNSMOS(DNSMOSConfig()),
}


@pytest.fixture(scope="session", params=sorted(MAKERS))
def make(request: pytest.FixtureRequest) -> Callable[[], QualityScorer]:
    """Makes and loads one of the scorers, each in turn."""

    def loaded() -> QualityScorer:
        adapter = MAKERS[request.param]()
        adapter.load()
        return adapter

    return loaded


@pytest.fixture(scope="session")
def any_scorer(make: Callable[[], QualityScorer]) -> QualityScorer:
    return make()
