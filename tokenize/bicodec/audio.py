"""Audio in, before any network: volume, the reference clip, the mel spectrogram."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

from gpa.tokenize.bicodec.config import MelConfig

QUIETEST_PEAK = 0.1
AUDIBLE = 0.01
TARGET_VOLUME = 0.2


def normalize_volume(waveform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring loud speech to a common level, as BiCodec was trained; shape (samples,) kept.

    The volume is the mean of the magnitudes between the 90th and the 99th percentile of the
    audible ones, measured before a quiet clip is raised to QUIETEST_PEAK.
    """
    magnitudes = np.sort(np.abs(waveform))
    peak = magnitudes[-1]
    if peak < QUIETEST_PEAK:
        waveform = waveform / max(peak, 1e-3) * QUIETEST_PEAK
    audible = magnitudes[magnitudes > AUDIBLE]
    count = len(audible)
    if count <= 10:
        return waveform
    volume = audible[int(0.9 * count) : int(0.99 * count)].mean()
    waveform = waveform * np.clip(TARGET_VOLUME / volume, 0.1, 10)
    return waveform / max(np.abs(waveform).max(), 1.0)


def reference_clip(waveform: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """The first `samples` samples, a shorter waveform repeated until it is long enough."""
    return np.resize(waveform[:samples], samples)


def mel_spectrogram(waveforms: Tensor, config: MelConfig, center: bool = True) -> Tensor:
    """Slaney mel bands of magnitudes, no logarithm: (batch, samples) to (batch, mels, frames)."""
    return mel_bands(config).to(waveforms.device) @ magnitudes(waveforms, config, center)


def magnitudes(waveforms: Tensor, config: MelConfig, center: bool = True) -> Tensor:
    """Magnitudes (batch, frequencies, frames) of waveforms (batch, samples).

    Frames are centred on every hop, the ends mirrored; or else lie within the waveform.
    """
    window = torch.zeros(config.n_fft, device=waveforms.device)
    left = (config.n_fft - config.win_length) // 2
    window[left : left + config.win_length] = torch.hann_window(config.win_length)
    spectrum = torch.stft(
        waveforms,
        config.n_fft,
        config.hop_length,
        window=window,
        center=center,
        pad_mode="reflect",
        return_complex=True,
    )
    return spectrum.abs()


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # kept for training, whoever asks for them first
def mel_bands(config: MelConfig) -> Tensor:
    """Triangular bands (mels, frequencies)."""
    bands = mel_filter_bank(
        num_frequency_bins=config.n_fft // 2 + 1,
        num_mel_filters=config.num_mels,
        min_frequency=config.mel_fmin,
        max_frequency=config.mel_fmax or config.sample_rate / 2,
        sampling_rate=config.sample_rate,
        norm="slaney",
        mel_scale="slaney",
    )
    return torch.from_numpy(bands).float().T.contiguous()
