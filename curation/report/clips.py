"""Audio small enough to stand inside a page, and its outline as a drawing."""

from __future__ import annotations

import base64
import io

import numpy as np
import soundfile

from gpa.curation.audio import Waveform, resample

# Wide enough for speech, and half the bits of more.
SAMPLE_RATE = 16000
# Of MP3 at this rate, bits a second: clear, and still good to judge words by.
BEST_BPS, LEAST_BPS = 32_000, 16_000
_RATES = (32_000, 24_000, 16_000)
# All clips of a page together, before base64 makes them a third larger.
BUDGET_BYTES = 6_500_000
LONGEST_TOTAL_S = BUDGET_BYTES * 8 / LEAST_BPS
OUTLINE_POINTS = 200


def bits_per_second(seconds: float) -> int:
    """The best rate at which `seconds` of clips fit the budget."""
    return next((rate for rate in _RATES if seconds * rate <= BUDGET_BYTES * 8), LEAST_BPS)


def mp3_data_uri(waveform: Waveform, sample_rate: int, bps: int) -> str:
    """Mono samples as MP3, which every browser plays, in a `data:` URI."""
    speech = resample(waveform, sample_rate, SAMPLE_RATE)
    buffer = io.BytesIO()
    # libsndfile maps compression 0..1 to the bit rates of MPEG-2, 160 to 8 kbit/s.
    level = (160_000 - bps) / 152_000
    with soundfile.SoundFile(
        buffer,
        "w",
        SAMPLE_RATE,
        1,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=level,
        bitrate_mode="CONSTANT",
    ) as file:
        file.write(speech)
    return "data:audio/mpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def outline(waveform: Waveform, points: int = OUTLINE_POINTS) -> str:
    """An SVG path of the greatest and least sample of each stretch; x 0..points, y -100..100."""
    if not len(waveform):
        return ""
    edges = np.linspace(0, len(waveform), points + 1).astype(int)
    edges = edges[:-1].clip(max=len(waveform) - 1)
    scale = float(np.abs(waveform).max()) / 100 or 1.0
    # y grows downwards in SVG.
    top = -np.maximum.reduceat(waveform, edges) / scale
    bottom = -np.minimum.reduceat(waveform, edges) / scale
    there = "L".join(f"{x} {y:.0f}" for x, y in enumerate(top))
    back = "L".join(f"{x} {y:.0f}" for x, y in reversed(list(enumerate(bottom))))
    return f"M{there}L{back}Z"
