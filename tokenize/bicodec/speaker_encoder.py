"""Global tokens: who speaks, as 32 tokens of a finite scalar quantizer, and back as a d-vector."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gpa.tokenize.bicodec.config import SpeakerEncoderConfig
from gpa.tokenize.bicodec.ecapa import ECAPA
from gpa.tokenize.bicodec.perceiver import PerceiverResampler


class FiniteScalarQuantizer(nn.Module):
    """Each dimension is squashed and rounded; the roundings together are the token.

    Finite scalar quantization (arXiv:2309.15505, section 3.1).
    """

    def __init__(self, dim: int, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.project_in = nn.Linear(dim, len(self.levels))
        self.project_out = nn.Linear(len(self.levels), dim)

    @property
    def codebook_size(self) -> int:
        """Number of different tokens."""
        return math.prod(self.levels)

    def bounded(self, latents: Tensor) -> Tensor:
        """Latents (..., dim) to scalars (..., levels) that are about to be rounded."""
        levels = torch.tensor(self.levels, dtype=torch.float32, device=latents.device)
        half_range = (levels - 1) * 1.001 / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        shift = torch.atanh(offset / half_range)
        return torch.tanh(self.project_in(latents).float() + shift) * half_range - offset

    def encode(self, latents: Tensor) -> Tensor:
        """Latents (..., dim) to tokens (...); half is rounded to even."""
        rounded = self.bounded(latents).round().long()
        digits = rounded + torch.tensor(
            [level // 2 for level in self.levels], device=latents.device
        )
        return (digits * self._place_values(latents.device)).sum(dim=-1)

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens (...) to quantized latents (..., dim)."""
        levels = torch.tensor(self.levels, device=tokens.device)
        digits = tokens[..., None] // self._place_values(tokens.device) % levels
        half_width = levels // 2
        return self.project_out((digits - half_width) / half_width)

    def straight_through(self, latents: Tensor) -> Tensor:
        """Latents to quantized latents, both (..., dim), with the gradient of no rounding."""
        scalars = self.bounded(latents)
        rounded = scalars + (scalars.round() - scalars).detach()
        half_widths = torch.tensor([level // 2 for level in self.levels], device=latents.device)
        return self.project_out(rounded / half_widths)

    def _place_values(self, device: torch.device) -> Tensor:
        """What one step in each dimension adds to the token; the first varies fastest."""
        values = [math.prod(self.levels[:place]) for place in range(len(self.levels))]
        return torch.tensor(values, device=device)


class SpeakerEncoder(nn.Module):
    """Mel spectrogram to global tokens; global tokens to the d-vector."""

    def __init__(
        self, config: SpeakerEncoderConfig, ecapa_channels: int, ecapa_features: int
    ) -> None:
        super().__init__()
        self.speaker_encoder = ECAPA(
            config.input_dim, ecapa_channels, ecapa_features, config.out_dim
        )
        self.perceiver_sampler = PerceiverResampler(
            config.latent_dim, ecapa_features, config.token_num
        )
        self.quantizer = FiniteScalarQuantizer(config.latent_dim, config.fsq_levels)
        self.project = nn.Linear(config.latent_dim * config.token_num, config.out_dim)

    def latents(self, mel: Tensor) -> Tensor:
        """Mel spectrogram (batch, mels, frames) to (batch, token_num, latent_dim)."""
        return self.perceiver_sampler(self.speaker_encoder(mel).transpose(1, 2))

    def encode(self, mel: Tensor) -> Tensor:
        """Mel spectrogram (batch, mels, frames) to global tokens (batch, token_num)."""
        return self.quantizer.encode(self.latents(mel))

    def decode(self, tokens: Tensor) -> Tensor:
        """Global tokens (batch, token_num) to d-vectors (batch, out_dim)."""
        return self._d_vectors(self.quantizer.decode(tokens))

    def straight_through(self, latents: Tensor) -> Tensor:
        """Latents to d-vectors, rounded as in `decode`; gradients pass the rounding."""
        return self._d_vectors(self.quantizer.straight_through(latents))

    def _d_vectors(self, latents: Tensor) -> Tensor:
        return self.project(latents.transpose(1, 2).flatten(1))
