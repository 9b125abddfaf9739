"""From 50 steps a second to 16,000 samples a second: the decoder of DAC (arXiv:2306.06546)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gpa.tokenize.bicodec.config import WaveGeneratorConfig
from gpa.tokenize.bicodec.padding import silence_padding
from gpa.tokenize.bicodec.weight_norm import WeightNormConv1d, WeightNormConvTranspose1d

KERNEL = 7
DILATIONS = (1, 3, 9)


class Snake(nn.Module):
    """x + sin^2(alpha x) / alpha, a periodic activation with one alpha a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(1, channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, channels, time)."""
        return features + torch.sin(self.alpha * features).square() / (self.alpha + 1e-9)


class ResidualUnit(nn.Module):
    """Snake, dilated convolution, Snake, 1x1 convolution, around a residual."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            Snake(channels),
            WeightNormConv1d(channels, channels, KERNEL, dilation),
            Snake(channels),
            WeightNormConv1d(channels, channels, 1),
        )

    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        """Features (batch, channels, time)."""
        return features + self.block(silence_padding(features, valid))


class UpsamplingBlock(nn.Module):
    """Snake, transposed convolution, residual units of growing dilation."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, rate: int) -> None:
        super().__init__()
        self.rate = rate
        self.block = nn.Sequential(
            Snake(in_channels),
            WeightNormConvTranspose1d(in_channels, out_channels, kernel, rate),
            *(ResidualUnit(out_channels, dilation) for dilation in DILATIONS),
        )

    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        """Features (batch, in_channels, time) to (batch, out_channels, rate * time)."""
        snake, upsample, *residual_units = self.block
        features = upsample(snake(silence_padding(features, valid)))
        valid = None if valid is None else valid.repeat_interleave(self.rate, dim=1)
        for unit in residual_units:
            features = unit(features, valid)
        return features


class WaveGenerator(nn.Module):
    """Convolution, one upsampling block a rate with half the channels each, convolution, tanh.

    `reach` is the number of tokens to either side that the samples of one token depend on.
    """

    def __init__(self, config: WaveGeneratorConfig) -> None:
        super().__init__()
        widths = [config.channels // 2**depth for depth in range(len(config.rates) + 1)]
        self.model = nn.Sequential(
            WeightNormConv1d(config.input_channel, widths[0], KERNEL),
            *(
                UpsamplingBlock(wide, narrow, kernel, rate)
                for wide, narrow, kernel, rate in zip(
                    widths[:-1], widths[1:], config.kernel_sizes, config.rates, strict=True
                )
            ),
            Snake(widths[-1]),
            WeightNormConv1d(widths[-1], 1, KERNEL),
        )
        self.rates = config.rates
        self.samples_per_token = math.prod(config.rates)
        self.reach = math.ceil(_reach_samples(config) / self.samples_per_token)

    def forward(self, features: Tensor, valid: Tensor | None = None) -> Tensor:
        """Features (batch, input_channel, tokens) to waveforms (batch, samples)."""
        first, *blocks, snake, last = self.model
        features = first(silence_padding(features, valid))
        for block, rate in zip(blocks, self.rates, strict=True):
            features = block(features, valid)
            valid = None if valid is None else valid.repeat_interleave(rate, dim=1)
        return torch.tanh(last(silence_padding(snake(features), valid)))[:, 0]


def _reach_samples(config: WaveGeneratorConfig) -> int:
    """Samples to either side of a token's own that the token changes: 3,141 as published."""
    samples_per_step = math.prod(config.rates)
    reach = KERNEL // 2 * samples_per_step
    for rate, kernel in zip(config.rates, config.kernel_sizes, strict=True):
        samples_per_step //= rate
        residual_units = sum(KERNEL // 2 * dilation for dilation in DILATIONS)
        reach += ((kernel - rate) // 2 + residual_units) * samples_per_step
    return reach + KERNEL // 2
