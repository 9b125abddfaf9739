"""Weight normalisation with the key names of the published checkpoint: `weight_g`, `weight_v`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class WeightNorm(nn.Module):
    """A convolution's weight as length times direction, one length an entry of the first axis.

    In inference the product never changes: `fold` computes it once.
    """

    def __init__(self, weight_shape: tuple[int, int, int], out_channels: int) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.empty(weight_shape[0], 1, 1))
        self.weight_v = nn.Parameter(torch.empty(weight_shape))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.register_buffer("folded", None, persistent=False)

    def weight(self) -> Tensor:
        """The weight itself, shape of `weight_v`."""
        if self.folded is not None:
            return self.folded
        return self.weight_v * (self.weight_g / self.weight_v.norm(dim=(1, 2), keepdim=True))

    def fold(self) -> None:
        """Keep the weight; call it once the parameters are final."""
        self.folded = None
        self.folded = self.weight().detach()


class WeightNormConv1d(WeightNorm):
    """Convolution that keeps the number of steps (odd kernels)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, dilation: int = 1) -> None:
        super().__init__((out_channels, in_channels, kernel), out_channels)
        self.dilation = dilation
        self.padding = (kernel - 1) // 2 * dilation

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, in_channels, time) to (batch, out_channels, time)."""
        return F.conv1d(
            features, self.weight(), self.bias, padding=self.padding, dilation=self.dilation
        )


class WeightNormConvTranspose1d(WeightNorm):
    """Upsampling by exactly `stride` (kernel minus stride even)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__((in_channels, out_channels, kernel), out_channels)
        self.stride = stride
        self.padding = (kernel - stride) // 2

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, in_channels, time) to (batch, out_channels, stride * time)."""
        return F.conv_transpose1d(
            features, self.weight(), self.bias, stride=self.stride, padding=self.padding
        )


def fold_weight_norm(network: nn.Module) -> None:
    """Fold every weight-normed layer of a network."""
    for layer in network.modules():
        if isinstance(layer, WeightNorm):
            layer.fold()


def unfold_weight_norm(network: nn.Module) -> None:
    """Undo `fold_weight_norm`, so that lengths and directions can be trained."""
    for layer in network.modules():
        if isinstance(layer, WeightNorm):
            layer.folded = None
