"""Audio bytes to arrays and back: decoding, resampling, FLAC."""

from __future__ import annotations

import io

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Waveform = NDArray[np.float32]


def resample(waveform: Waveform, from_rate: int, to_rate: int) -> Waveform:
    """Resample (samples,) or (samples, channels) with soxr at high quality."""
    if from_rate == to_rate:
        return waveform
    return soxr.resample(waveform, from_rate, to_rate, quality="HQ").astype(np.float32, copy=False)


def encode_flac(waveform: Waveform, sample_rate: int) -> bytes:
    """Mono 16-bit FLAC; the same samples always give the same bytes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_flac(data: bytes) -> tuple[Waveform, int]:
    """Samples (samples,) and sample rate of a FLAC that `encode_flac` wrote."""
    waveform, sample_rate = soundfile.read(io.BytesIO(data), dtype="float32")
    return waveform, sample_rate
