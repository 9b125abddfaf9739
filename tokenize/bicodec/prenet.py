"""From quantized latents and the speaker to what the wave generator renders."""

from __future__ import annotations

from torch import Tensor, nn

from gpa.tokenize.bicodec.config import VocosConfig
from gpa.tokenize.bicodec.vocos import SamplingStack, VocosBackbone


class Prenet(nn.Module):
    """Projection, sampling stack, Vocos backbone (told of the speaker), projection.

    The checkpoint's postnet is one more of these, without a condition; it served training only.
    """

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.linear_pre = nn.Linear(config.input_channels, config.vocos_dim)
        self.downsample = SamplingStack(config)
        self.vocos_backbone = VocosBackbone(
            config.vocos_dim,
            config.vocos_dim,
            config.vocos_intermediate_dim,
            config.vocos_num_layers,
            config.condition_dim,
        )
        self.linear = nn.Linear(config.vocos_dim, config.out_channels)

    @property
    def reach(self) -> int:
        """Tokens to either side that one step of the output depends on."""
        return self.downsample.reach + self.vocos_backbone.reach

    def forward(self, latents: Tensor, d_vector: Tensor, valid: Tensor | None = None) -> Tensor:
        """Latents (batch, input_channels, tokens), d-vector (batch, condition_dim)."""
        hidden = self.linear_pre(latents.transpose(1, 2)).transpose(1, 2)
        hidden = self.vocos_backbone(self.downsample(hidden, valid), d_vector, valid)
        return self.linear(hidden.transpose(1, 2)).transpose(1, 2)
