"""A spectrogram as a PNG: grey, low frequencies below, as wide as its place on the page."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray
from scipy.signal import stft

from gpa.curation.audio import Waveform

WIDTH, HEIGHT = 900, 128
# From the loudest down to what is left white.
_RANGE_DB = 70.0
_SILENT_DB = -100.0


def spectrogram(waveform: Waveform, sample_rate: int) -> bytes:
    """PNG of a waveform of shape (samples,), up to half its rate; loud is dark."""
    size = min(sample_rate // 40, len(waveform))
    if size < 2:
        return _png(np.full((HEIGHT, 1), 255, np.uint8))
    hop = max(1, (len(waveform) - size) // WIDTH)
    _, _, bands = stft(
        waveform, sample_rate, nperseg=size, noverlap=size - min(hop, size), boundary=None
    )
    level = 20 * np.log10(np.maximum(np.abs(bands), 1e-10))
    dark = np.clip(1 + (level - max(level.max(), _SILENT_DB)) / _RANGE_DB, 0, 1)
    rows = np.linspace(len(dark) - 1, 0, HEIGHT).round().astype(int)
    return _png((255 * (1 - dark[rows])).astype(np.uint8))


def _png(grey: NDArray[np.uint8]) -> bytes:
    """8-bit grey of shape (rows, columns)."""
    frame = av.VideoFrame.from_ndarray(grey, format="gray")
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height = frame.width, frame.height
    codec.pix_fmt, codec.time_base = "gray", Fraction(1)
    return b"".join(map(bytes, codec.encode(frame)))
