"""The Vocos backbone: what encoder, prenet and postnet are made of (arXiv:2306.00814, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpa.tokenize.bicodec.config import VocosConfig
from gpa.tokenize.bicodec.padding import silence_padding

KERNEL = 7
EPSILON = 1e-6
LAYERS_AFTER_SAMPLING = 2


class AdaptiveLayerNorm(nn.Module):
    """Layer normalisation whose scale and shift are linear in a condition."""

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.channels = channels
        self.scale = nn.Linear(condition_dim, channels)
        self.shift = nn.Linear(condition_dim, channels)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Features (batch, time, channels), condition (batch, condition_dim)."""
        normalized = F.layer_norm(features, (self.channels,), eps=EPSILON)
        return normalized * self.scale(condition)[:, None] + self.shift(condition)[:, None]


class PlainLayerNorm(nn.LayerNorm):
    """Layer normalisation in the place of an adaptive one; pays no heed to the condition."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPSILON)

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Features (batch, time, channels)."""
        return super().forward(features)


def _norm(channels: int, condition_dim: int | None) -> nn.Module:
    if condition_dim is None:
        return PlainLayerNorm(channels)
    return AdaptiveLayerNorm(channels, condition_dim)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, then a two-layer perceptron at each step, around a residual."""

    def __init__(self, channels: int, intermediate: int, condition_dim: int | None) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels)
        self.norm = _norm(channels, condition_dim)
        self.pwconv1 = nn.Linear(channels, intermediate)
        self.pwconv2 = nn.Linear(intermediate, channels)
        self.gamma = nn.Parameter(torch.empty(channels))

    def forward(self, features: Tensor, condition: Tensor | None, valid: Tensor | None) -> Tensor:
        """Features (batch, channels, time), same shape out."""
        mixed = self.dwconv(silence_padding(features, valid)).transpose(1, 2)
        mixed = self.pwconv1(self.norm(mixed, condition))
        mixed = self.gamma * self.pwconv2(F.gelu(mixed))
        return features + mixed.transpose(1, 2)


class VocosBackbone(nn.Module):
    """Convolution, norm, ConvNeXt blocks, norm: (batch, channels, time) to (batch, dim, time)."""

    def __init__(
        self,
        input_channels: int,
        dim: int,
        intermediate: int,
        layers: int,
        condition_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.embed = nn.Conv1d(input_channels, dim, KERNEL, padding=KERNEL // 2)
        self.norm = _norm(dim, condition_dim)
        self.convnext = nn.ModuleList(
            ConvNeXtBlock(dim, intermediate, condition_dim) for _ in range(layers)
        )
        self.final_layer_norm = nn.LayerNorm(dim, eps=EPSILON)
        # Steps to either side that one step of the output depends on.
        self.reach = KERNEL // 2 * (1 + layers)

    def forward(
        self, features: Tensor, condition: Tensor | None = None, valid: Tensor | None = None
    ) -> Tensor:
        """Condition (batch, condition_dim) where the backbone has one."""
        features = self.embed(silence_padding(features, valid)).transpose(1, 2)
        features = self.norm(features, condition).transpose(1, 2)
        for block in self.convnext:
            features = block(features, condition, valid)
        return self.final_layer_norm(features.transpose(1, 2)).transpose(1, 2)


class SamplingBlock(nn.Module):
    """Resampling at ratio 1: the input, its up- and its downsampled copy add up to 3 times it."""

    def forward(self, features: Tensor) -> Tensor:
        """Any shape, the same out."""
        return 3 * features


class SamplingStage(nn.Sequential):
    """A sampling block and a small Vocos backbone."""

    def __init__(self, config: VocosConfig) -> None:
        backbone = VocosBackbone(
            config.vocos_dim,
            config.vocos_dim,
            config.vocos_intermediate_dim,
            LAYERS_AFTER_SAMPLING,
        )
        super().__init__(SamplingBlock(), backbone)
        self.reach = backbone.reach

    def forward(self, features: Tensor, valid: Tensor | None = None) -> Tensor:
        """Features (batch, dim, time), same shape out."""
        sampling, backbone = self
        return backbone(sampling(features), valid=valid)


class SamplingStack(nn.Sequential):
    """A sampling stage for each sample ratio."""

    def __init__(self, config: VocosConfig) -> None:
        stages = [SamplingStage(config) for _ in config.sample_ratios]
        super().__init__(*stages)
        self.reach = sum(stage.reach for stage in stages)

    def forward(self, features: Tensor, valid: Tensor | None = None) -> Tensor:
        """Features (batch, dim, time), same shape out."""
        for stage in self:
            features = stage(features, valid)
        return features
