"""Fresh weights for a codec: where torch's own beginning would not do, that of Vocos and DAC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from gpa.tokenize.bicodec.config import NetworkConfig
from gpa.tokenize.bicodec.network import BiCodecNetwork
from gpa.tokenize.bicodec.perceiver import PerceiverResampler, RMSNorm
from gpa.tokenize.bicodec.quantizer import SemanticQuantizer
from gpa.tokenize.bicodec.speaker_encoder import SpeakerEncoder
from gpa.tokenize.bicodec.vocos import AdaptiveLayerNorm, ConvNeXtBlock, VocosBackbone
from gpa.tokenize.bicodec.wave_generator import Snake
from gpa.tokenize.bicodec.weight_norm import WeightNorm

# About as far apart as what they read of different voices: from latents much closer all tokens of a
# voice become alike, from latents farther apart each token is the same for all voices.
LATENTS_STD = 0.25


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


@torch.no_grad()
def spread_voices(encoder: SpeakerEncoder, mels: Sequence[Tensor]) -> None:
    """Let fresh weights tell voices apart, from mel spectrograms (batch, mels, frames) of some.

    What the latents read begins with mean 0 and deviation 1 among frames, and what global tokens
    are rounded from with mean 0, and deviation 1 among voices.
    """
    encoder.eval()
    reading = encoder.perceiver_sampler.proj_context
    frames = torch.cat([reading(encoder.speaker_encoder(mel).transpose(1, 2)) for mel in mels])
    _rescale(reading, frames.mean(dim=(0, 1)), frames.std(dim=(0, 1)))
    rounding = encoder.quantizer.project_in
    scalars = torch.cat([rounding(encoder.latents(mel)) for mel in mels])
    _rescale(rounding, scalars.mean(dim=(0, 1)), scalars.std(dim=0).mean(dim=0))


def _rescale(layer: nn.Linear, mean: Tensor, deviation: Tensor) -> None:
    layer.weight.div_(deviation[:, None])
    layer.bias.sub_(mean).div_(deviation)


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
            module.latents.normal_(std=LATENTS_STD)
        case RMSNorm():
            module.gamma.fill_(1)
        case Snake():
            module.alpha.fill_(1)
