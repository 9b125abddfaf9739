"""Fresh weights for a codec: where torch's own beginning would not do, that of Vocos and DAC."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from gpa.tokenize.bicodec.config import NetworkConfig
from gpa.tokenize.bicodec.network import BiCodecNetwork
from gpa.tokenize.bicodec.perceiver import PerceiverResampler, RMSNorm
from gpa.tokenize.bicodec.quantizer import SemanticQuantizer
from gpa.tokenize.bicodec.vocos import AdaptiveLayerNorm, ConvNeXtBlock, VocosBackbone
from gpa.tokenize.bicodec.wave_generator import Snake
from gpa.tokenize.bicodec.weight_norm import WeightNorm

DEVIATION = 0.02


@torch.no_grad()
def fresh_network(
    config: NetworkConfig, ecapa_channels: int, ecapa_features: int, seed: int
) -> BiCodecNetwork:
    """A network with weights drawn from the seed, ready to be trained."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = BiCodecNetwork(config, ecapa_channels, ecapa_features)
        for module in network.modules():
            _begin(module)
    return network


def _begin(module: nn.Module) -> None:
    match module:
        case VocosBackbone():
            for block in module.convnext:
                cast(ConvNeXtBlock, block).gamma.fill_(1 / len(module.convnext))
        case AdaptiveLayerNorm():
            module.scale.bias.fill_(1)
            module.shift.bias.fill_(0)
        case WeightNorm():
            nn.init.kaiming_uniform_(module.weight_v, a=5**0.5)
            module.weight_g.copy_(module.weight_v.norm(dim=(1, 2), keepdim=True))
            module.bias.fill_(0)
        case SemanticQuantizer():
            module.cluster_size.fill_(0)
        case PerceiverResampler():
            module.latents.normal_(std=DEVIATION)
        case RMSNorm():
            module.gamma.fill_(1)
        case Snake():
            module.alpha.fill_(1)
