"""ECAPA-TDNN, the speaker encoder's ear (arXiv:2005.07143), up to its frame-level features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RES2_SCALE = 8
BOTTLENECK = 128
STEM_KERNEL = 5
BLOCK_KERNEL = 3
BLOCK_DILATIONS = (2, 3, 4)


class ConvReluNorm(nn.Module):
    """Convolution, ReLU, batch normalisation, in this order."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, padding=kernel // 2)
        self.bn = nn.BatchNorm1d(out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, channels, frames)."""
        return self.bn(F.relu(self.conv(features)))


class Res2Conv(nn.Module):
    """Channels in eight groups; each but the last is convolved with what the one before gave."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        width = channels // RES2_SCALE
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, BLOCK_KERNEL, padding=dilation, dilation=dilation)
            for _ in range(RES2_SCALE - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(RES2_SCALE - 1))

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, channels, frames)."""
        *groups, last = features.chunk(RES2_SCALE, dim=1)
        outputs: list[Tensor] = []
        for group, conv, norm in zip(groups, self.convs, self.bns, strict=True):
            hidden = group + outputs[-1] if outputs else group
            outputs.append(norm(F.relu(conv(hidden))))
        return torch.cat([*outputs, last], dim=1)


class SqueezeExcitation(nn.Module):
    """Scale each channel by what the mean over time says."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, BOTTLENECK)
        self.linear2 = nn.Linear(BOTTLENECK, channels)

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, channels, frames)."""
        scale = torch.sigmoid(self.linear2(F.relu(self.linear1(features.mean(dim=2)))))
        return features * scale[:, :, None]


class SERes2Block(nn.Module):
    """1x1, Res2, 1x1 and squeeze-excitation around a residual."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.se_res2block = nn.Sequential(
            ConvReluNorm(channels, channels),
            Res2Conv(channels, dilation),
            ConvReluNorm(channels, channels),
            SqueezeExcitation(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, channels, frames)."""
        return features + self.se_res2block(features)


class AttentivePooling(nn.Module):
    """Weights of the statistics pooling behind the x-vector, which no token depends on."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear1 = nn.Conv1d(3 * channels, BOTTLENECK, 1)
        self.linear2 = nn.Conv1d(BOTTLENECK, channels, 1)


class ECAPA(nn.Module):
    """Stem, three SE-Res2 blocks, their concatenation through a 1x1 convolution.

    `pool`, `bn` and `linear` make the x-vector: published, part of the state dict, not run.
    """

    def __init__(self, mels: int, channels: int, features: int, x_vector: int) -> None:
        super().__init__()
        self.layer1 = ConvReluNorm(mels, channels, STEM_KERNEL)
        self.layer2, self.layer3, self.layer4 = (
            SERes2Block(channels, dilation) for dilation in BLOCK_DILATIONS
        )
        self.conv = nn.Conv1d(3 * channels, features, 1)
        self.pool = AttentivePooling(features)
        self.bn = nn.BatchNorm1d(2 * features)
        self.linear = nn.Linear(2 * features, x_vector)

    def forward(self, mel: Tensor) -> Tensor:
        """Mel spectrogram (batch, mels, frames) to features (batch, features, frames)."""
        first = self.layer2(self.layer1(mel))
        second = self.layer3(first)
        third = self.layer4(second)
        return F.relu(self.conv(torch.cat([first, second, third], dim=1)))
