"""The whole BiCodec network: its state dict has the published names and shapes."""

from __future__ import annotations

from torch import Tensor, nn

from gpa.tokenize.bicodec.config import ISTFTConfig, NetworkConfig
from gpa.tokenize.bicodec.encoder import Encoder
from gpa.tokenize.bicodec.istft import ISTFTGenerator
from gpa.tokenize.bicodec.prenet import Prenet
from gpa.tokenize.bicodec.quantizer import SemanticQuantizer
from gpa.tokenize.bicodec.speaker_encoder import SpeakerEncoder
from gpa.tokenize.bicodec.wave_generator import WaveGenerator

# The published model's ECAPA-TDNN; its config.yaml does not say.
ECAPA_CHANNELS = 512
ECAPA_FEATURES = 1536


class BiCodecNetwork(nn.Module):
    """All parts under their published names; `postnet` served training only and is never run."""

    def __init__(
        self,
        config: NetworkConfig,
        ecapa_channels: int = ECAPA_CHANNELS,
        ecapa_features: int = ECAPA_FEATURES,
    ) -> None:
        super().__init__()
        self.mel_params = config.mel_params
        self.encoder = Encoder(config.encoder)
        self.decoder = (
            ISTFTGenerator(config.decoder)
            if isinstance(config.decoder, ISTFTConfig)
            else WaveGenerator(config.decoder)
        )
        self.quantizer = SemanticQuantizer(config.quantizer)
        self.speaker_encoder = SpeakerEncoder(
            config.speaker_encoder, ecapa_channels, ecapa_features
        )
        self.prenet = Prenet(config.prenet)
        self.postnet = Prenet(config.postnet)

    def prepare(
        self, semantic_tokens: Tensor, d_vectors: Tensor, valid: Tensor | None = None
    ) -> Tensor:
        """What the wave generator renders: (batch, channels, tokens).

        `semantic_tokens` (batch, tokens), `d_vectors` (batch, dim), `valid` as in padding.py.
        """
        return self.voiced(self.quantizer.decode(semantic_tokens), d_vectors, valid)

    def voiced(self, latents: Tensor, d_vectors: Tensor, valid: Tensor | None = None) -> Tensor:
        """The same from what the semantic tokens stand for, (batch, dim, tokens)."""
        return self.prenet(latents, d_vectors, valid) + d_vectors[:, :, None]
