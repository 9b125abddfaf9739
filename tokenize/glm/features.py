"""Chunks of 30 s and their log-mel spectrograms, as Whisper makes them (arXiv:2212.04356, 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers.audio_utils import mel_filter_bank

from gpa.tokenize.clips import SAMPLE_RATE

CHUNK_SAMPLES = 30 * SAMPLE_RATE
TOKEN_SAMPLES = 1280
STEP_SAMPLES = 320
N_FFT = 400
HOP_SAMPLES = 160
DYNAMIC_RANGE = 8  # in powers of ten below the loudest band

Samples = TypeVar("Samples", NDArray[np.float32], Tensor)


def token_count(samples: int) -> int:
    """Tokens of a waveform at 16 kHz: one for each begun 80 ms of each chunk of 30 s."""
    whole_chunks, rest = divmod(samples, CHUNK_SAMPLES)
    return whole_chunks * (CHUNK_SAMPLES // TOKEN_SAMPLES) + -(-rest // TOKEN_SAMPLES)


def step_count(samples: int) -> int:
    """Steps of the transformer, 20 ms each, that begin within a chunk's audio."""
    return -(-samples // STEP_SAMPLES)


def chunks(waveform: Samples) -> list[Samples]:
    """A waveform (samples,) in pieces of at most 30 s."""
    return [
        waveform[start : start + CHUNK_SAMPLES] for start in range(0, len(waveform), CHUNK_SAMPLES)
    ]


def log_mels(pieces: Sequence[Tensor], mels: int) -> Tensor:
    """Chunks (samples,) to (batch, mels, longest frames), zeros after the shorter ones."""
    each = [log_mel(piece, mels) for piece in pieces]
    longest = max(mel.shape[1] for mel in each)
    return torch.stack([F.pad(mel, (0, longest - mel.shape[1])) for mel in each])


def log_mel(chunk: Tensor, mels: int) -> Tensor:
    """Chunk (samples,) to (mels, frames), eight frames for each token.

    The chunk is extended with zeros to whole tokens, not to 30 s.
    """
    samples = F.pad(chunk, (0, -len(chunk) % TOKEN_SAMPLES))
    spectrum = torch.stft(
        samples,
        N_FFT,
        HOP_SAMPLES,
        window=torch.hann_window(N_FFT, device=chunk.device),
        return_complex=True,
    )
    power = spectrum[:, :-1].abs().square()
    bands = (_mel_bands(mels).to(chunk.device).T @ power).clamp(min=1e-10).log10()
    return (bands.clamp(min=bands.max() - DYNAMIC_RANGE) + 4) / 4


@lru_cache(maxsize=2)
@torch.inference_mode(False)  # kept for training, whoever asks for them first
def _mel_bands(mels: int) -> Tensor:
    """Triangular slaney bands (frequencies, mels)."""
    bands = mel_filter_bank(
        num_frequency_bins=N_FFT // 2 + 1,
        num_mel_filters=mels,
        min_frequency=0.0,
        max_frequency=SAMPLE_RATE / 2,
        sampling_rate=SAMPLE_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(bands).float()
