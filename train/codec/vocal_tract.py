"""Vocal tract length perturbation (Jaitly and Hinton, 2013): the same words from another throat."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers.audio_utils import hertz_to_mel, mel_to_hertz

from gpa.tokenize.bicodec.config import MelConfig


def perturb(features: Tensor, factors: Tensor, config: MelConfig) -> Tensor:
    """Log-mel features (batch, frames, mels), all frequencies of a clip times its factor (batch,).

    A band that would be filled from beyond the first or last takes that one.
    """
    edges = hertz_to_mel(
        np.array([config.mel_fmin, config.mel_fmax or config.sample_rate / 2]), mel_scale="slaney"
    )
    bands = np.linspace(*edges, config.num_mels + 2)[1:-1]
    sources = mel_to_hertz(bands, mel_scale="slaney") / factors.cpu().numpy()[:, None]
    places = (hertz_to_mel(sources, mel_scale="slaney") - bands[0]) / (bands[1] - bands[0])
    places = torch.from_numpy(places).to(features).clamp(0, config.num_mels - 1)
    below = places.long()
    above = (below + 1).clamp(max=config.num_mels - 1)
    low, high = (features.take_along_dim(numbers[:, None], dim=2) for numbers in (below, above))
    return low.lerp(high, (places - below)[:, None])
