"""What both tokenizers ask of a clip of audio, and how clips are put together into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from gpa.runtime.errors import UserError

SAMPLE_RATE = 16000

# Zeros added to make the clips of a batch equally long may cost this share of its audio.
MAX_PADDING = 0.25


class ClipError(UserError):
    """A clip that has no tokens; `clip` is its position in the list, `reason` a clause."""

    def __init__(self, clip: int, reason: str) -> None:
        super().__init__(f"Clip {clip} can't be tokenized: {reason}.")
        self.clip = clip
        self.reason = reason

    def __reduce__(self) -> tuple[type[ClipError], tuple[int, str]]:
        return ClipError, (self.clip, self.reason)


def as_channels(clip: int, waveform: ArrayLike, sample_rate: int) -> NDArray[np.float64]:
    """Check a waveform of shape (samples,) or (channels, samples); returns (channels, samples).

    Any real floating type and any positive sample rate will do. Raises ClipError for integer
    samples (whose full scale is unknown), an empty clip, samples that are not finite, or another
    shape; `clip` is the number that the error names.
    """
    if sample_rate <= 0:
        raise ClipError(clip, f"its sample rate is {sample_rate} Hz")
    samples = np.asarray(waveform)
    if not np.issubdtype(samples.dtype, np.floating):
        raise ClipError(clip, f"its samples are {samples.dtype}, hand in floating point in [-1, 1]")
    if samples.ndim not in (1, 2):
        raise ClipError(
            clip, f"its shape is {samples.shape}, hand in (samples,) or (channels, samples)"
        )
    if samples.size == 0:
        raise ClipError(clip, "it is empty")
    channels = np.atleast_2d(samples).astype(np.float64)
    if len(channels) > channels.shape[1]:
        raise ClipError(
            clip, f"its shape {samples.shape} has more channels than samples, transpose it"
        )
    if not np.isfinite(channels).all():
        raise ClipError(clip, "it has samples that are NaN or infinite")
    return channels


def resample(waveform: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    """A waveform (samples,) at 16 kHz: soxr at very high quality, as the published code uses."""
    if sample_rate == SAMPLE_RATE:
        return waveform
    return soxr.resample(waveform, sample_rate, SAMPLE_RATE, quality="VHQ")


def batches_by_length(lengths: Sequence[int], max_total: int) -> Iterator[list[int]]:
    """Group items of similar length; yields lists of their positions, shortest items first.

    A batch's padded size (items times the longest) stays within `max_total`, unless one item
    alone exceeds it, and padding stays within MAX_PADDING of what the items hold themselves.
    """
    batch: list[int] = []
    held = 0
    for item in sorted(range(len(lengths)), key=lambda position: lengths[position]):
        padded = (len(batch) + 1) * lengths[item]
        wasteful = padded > (1 + MAX_PADDING) * (held + lengths[item])
        if batch and (padded > max_total or wasteful):
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += lengths[item]
    if batch:
        yield batch
