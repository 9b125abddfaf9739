"""Who tells decoded speech from real speech, and how a decoder learns from them.

Discriminators of several periods (HiFi-GAN, arXiv:2010.05646) and of several resolutions, each in
bands (DAC, arXiv:2306.06546), as BiCodec has them (arXiv:2503.01710, section 3.1); sizes and
optimizer as in DAC.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, cast

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from gpa.runtime.config import Config

SLOPE = 0.1
# Edges of the bands that a spectrum is cut into, as shares of its frequencies.
BANDS = (0, 0.1, 0.25, 0.5, 0.75, 1)
LARGEST_GRADIENT = 10.0


class DiscriminatorConfig(Config):
    """One discriminator a period and one a window, both in samples; `channels` is their width."""

    periods: tuple[PositiveInt, ...] = (2, 3, 5, 7, 11)
    windows: tuple[PositiveInt, ...] = (2048, 1024, 512)
    channels: PositiveInt = 32
    learning_rate: PositiveFloat = 1e-4


def _convolution(
    inputs: int, outputs: int, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)
) -> nn.Module:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return weight_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding))


def _through(layers: Iterable[nn.Module], image: Tensor) -> list[Tensor]:
    found = []
    for layer in layers:
        found.append(image := F.leaky_relu(layer(image), SLOPE))
    return found


class PeriodDiscriminator(nn.Module):
    """Sees a waveform folded into rows of `period` samples."""

    def __init__(self, period: int, channels: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, *(channels * factor for factor in (1, 4, 16, 32))]
        self.layers = nn.ModuleList(
            _convolution(narrow, wide, (5, 1), (3, 1)) for narrow, wide in pairwise(widths)
        )
        self.layers.append(_convolution(widths[-1], widths[-1], (5, 1)))
        self.out = _convolution(widths[-1], 1, (3, 1))

    def forward(self, waveforms: Tensor) -> list[Tensor]:
        """What each layer sees in waveforms (batch, samples); last the verdict, 1 for real."""
        missing = -waveforms.shape[1] % self.period
        rows = F.pad(waveforms, (0, missing), "reflect").unflatten(1, (-1, self.period))
        found = _through(self.layers, rows[:, None])
        return [*found, self.out(found[-1])]


class SpectrumDiscriminator(nn.Module):
    """Sees complex spectra of frames of `window` samples, band by band."""

    def __init__(self, window: int, channels: int) -> None:
        super().__init__()
        self.window = window
        self.bands = nn.ModuleList(
            nn.ModuleList(
                [
                    _convolution(2, channels, (3, 9)),
                    *(_convolution(channels, channels, (3, 9), (1, 2)) for _ in range(3)),
                    _convolution(channels, channels, (3, 3)),
                ]
            )
            for _ in pairwise(BANDS)
        )
        self.out = _convolution(channels, 1, (3, 3))

    def forward(self, waveforms: Tensor) -> list[Tensor]:
        """What each layer sees in waveforms (batch, samples); last the verdict, 1 for real."""
        hann = torch.hann_window(self.window, device=waveforms.device)
        spectra = torch.stft(
            waveforms, self.window, self.window // 4, window=hann, return_complex=True
        )
        image = torch.view_as_real(spectra).permute(0, 3, 2, 1)
        edges = [round(share * image.shape[3]) for share in BANDS]
        found = [
            _through(cast(nn.ModuleList, layers), image[..., low:high])
            for layers, (low, high) in zip(self.bands, pairwise(edges), strict=True)
        ]
        verdict = self.out(torch.cat([band[-1] for band in found], dim=3))
        return [*(layer for band in found for layer in band), verdict]


class Discriminators:
    """All of them, with an optimizer of their own; `loss` is that of their last step."""

    def __init__(self, config: DiscriminatorConfig, device: torch.device) -> None:
        each = [PeriodDiscriminator(period, config.channels) for period in config.periods]
        others = [SpectrumDiscriminator(window, config.channels) for window in config.windows]
        self.network = nn.ModuleList([*each, *others]).to(device)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), config.learning_rate, betas=(0.8, 0.99)
        )
        self.loss = torch.zeros(())

    def learn(self, spoken: Tensor, target: Tensor) -> None:
        """A step towards telling waveforms (batch, samples) that were spoken from real ones."""
        loss = torch.stack(
            [
                (1 - one(target)[-1]).square().mean() + one(spoken.detach())[-1].square().mean()
                for one in self.network
            ]
        ).sum()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.loss = loss.detach()

    def losses(self, spoken: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """How surely `spoken` is told from real, and how differently its layers see both."""
        told, unlike = [], []
        self.network.requires_grad_(False)
        for one in self.network:
            *real, _ = one(target)
            *made, verdict = one(spoken)
            told.append((1 - verdict).square().mean())
            unlike += [F.l1_loss(ours, theirs) for ours, theirs in zip(made, real, strict=True)]
        self.network.requires_grad_(True)
        return torch.stack(told).sum(), torch.stack(unlike).sum()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs to go on."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
