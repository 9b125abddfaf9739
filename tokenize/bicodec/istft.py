"""From 50 steps a second to samples by way of spectra: the head of Vocos (arXiv:2306.00814)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpa.tokenize.bicodec.config import ISTFTConfig
from gpa.tokenize.bicodec.vocos import VocosBackbone

# Keeps an untrained head from blowing up: natural logarithm of the greatest magnitude.
LOUDEST = 5.0


class ISTFTGenerator(nn.Module):
    """Vocos backbone, then magnitude and phase of each frame, then their overlapping waveforms.

    A frame is `n_fft` samples, centred on its token's. `reach` is the number of tokens to either
    side that the samples of one token depend on.
    """

    def __init__(self, config: ISTFTConfig) -> None:
        super().__init__()
        self.backbone = VocosBackbone(
            config.input_channel, config.dim, config.intermediate_dim, config.num_layers
        )
        self.out = nn.Linear(config.dim, config.n_fft + 2)
        self.n_fft = config.n_fft
        self.samples_per_token = config.hop_length
        self.edge = (self.n_fft - self.samples_per_token) // 2
        self.reach = self.backbone.reach + math.ceil(self.edge / self.samples_per_token)

    def forward(self, features: Tensor, valid: Tensor | None = None) -> Tensor:
        """Features (batch, input_channel, tokens) to waveforms (batch, samples)."""
        log_magnitude, phase = self.paint(features, valid)
        return self.overlap(log_magnitude.exp(), phase, valid)

    def paint(self, features: Tensor, valid: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Natural logarithms of magnitudes, and phases, both (batch, tokens, frequencies)."""
        hidden = self.backbone(features, valid=valid)
        log_magnitude, phase = self.out(hidden.transpose(1, 2)).chunk(2, dim=2)
        return log_magnitude.clamp(max=LOUDEST), phase

    def analyse(self, waveforms: Tensor) -> Tensor:
        """The frames' spectra (batch, tokens, frequencies) of waveforms (batch, samples)."""
        frames = F.pad(waveforms, (self.edge, self.edge)).unfold(
            1, self.n_fft, self.samples_per_token
        )
        return torch.fft.rfft(frames * torch.hann_window(self.n_fft, device=frames.device))

    def overlap(self, magnitude: Tensor, phase: Tensor, valid: Tensor | None = None) -> Tensor:
        """Waveforms (batch, samples) of spectra, as near to them as least squares come.

        Beyond a clip's own end they are undefined.
        """
        window = torch.hann_window(self.n_fft, device=magnitude.device)
        frames = torch.fft.irfft(torch.polar(magnitude, phase), n=self.n_fft) * window
        weights = window.square().expand_as(frames)
        if valid is not None:
            frames, weights = frames * valid[:, :, None], weights * valid[:, :, None]
        return self._add(frames) / self._add(weights).clamp(min=1e-8)

    def _add(self, frames: Tensor) -> Tensor:
        tokens = frames.shape[1]
        samples = (tokens - 1) * self.samples_per_token + self.n_fft
        added = F.fold(
            frames.transpose(1, 2),
            output_size=(1, samples),
            kernel_size=(1, self.n_fft),
            stride=(1, self.samples_per_token),
        )[:, 0, 0]
        return added[:, self.edge : self.edge + tokens * self.samples_per_token]
