"""From self-supervised features to the latents that become semantic tokens."""

from __future__ import annotations

from torch import Tensor, nn

from gpa.tokenize.bicodec.config import VocosConfig
from gpa.tokenize.bicodec.vocos import SamplingStack, VocosBackbone


class Encoder(nn.Module):
    """Vocos backbone, sampling stack, projection."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.encoder = VocosBackbone(
            config.input_channels,
            config.vocos_dim,
            config.vocos_intermediate_dim,
            config.vocos_num_layers,
        )
        self.downsample = SamplingStack(config)
        self.project = nn.Linear(config.vocos_dim, config.out_channels)

    def forward(self, features: Tensor, valid: Tensor | None = None) -> Tensor:
        """Features (batch, input_channels, frames) to latents (batch, out_channels, frames)."""
        hidden = self.downsample(self.encoder(features, valid=valid), valid)
        return self.project(hidden.transpose(1, 2)).transpose(1, 2)
