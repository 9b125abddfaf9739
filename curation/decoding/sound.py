"""What all decoders give: the blocks of a sound, and what its header says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]

# Fewer bits a second than any codec of speech needs: the header announces what is not there.
MIN_BITS_PER_SECOND = 100
# Shorter holes in time stamps are rounding and jitter; codecs pad by less, too.
TOLERANCE_S = 0.1


class DecodeError(Exception):
    """Why a file gives no audio, in one line."""


@dataclass
class Sound:
    """Audio that is being decoded: `blocks` can be iterated once, the counts follow it.

    Blocks have shape (channels, samples) and values in [-1, 1] for integer formats.
    """

    sample_rate: int
    channels: int
    codec: str  # container and codec, such as "wav/pcm_16" or "matroska,webm/opus"
    blocks: Iterator[Waveform] = field(repr=False)
    stream: int = 0  # which of the audio streams
    streams: int = 1
    promised_s: float = 0.0  # what the header says, where it knows; 0 where not
    samples: int = 0
    heard: bool = False  # whether any sample so far exceeds 1e-4
    complete: bool = True  # false once something could not be decoded

    @property
    def duration_s(self) -> float:
        """Seconds decoded so far."""
        return self.samples / self.sample_rate

    @property
    def missing_s(self) -> float:
        """Seconds that the header promised and the file does not hold, once all is decoded."""
        missing = self.promised_s - self.duration_s
        return missing if missing > TOLERANCE_S else 0.0


def plausible(duration_s: float, size: int) -> bool:
    """Whether `size` bytes are enough for the duration that their header announces."""
    return duration_s * MIN_BITS_PER_SECOND <= 8 * size
