"""`config.yaml` of a BiCodec checkpoint, typed; keys that inference does not need are ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from gpa.runtime.config import Config, parse, read_yaml


class PublishedConfig(Config):
    """A section of a file that others wrote: closed to change, open to keys we do not read."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class MelConfig(PublishedConfig):
    """Mel spectrogram that the speaker encoder hears, or the semantic encoder of a small codec."""

    sample_rate: Literal[16000]
    n_fft: int = Field(gt=0)
    win_length: int = Field(gt=0)
    hop_length: int = Field(gt=0)
    mel_fmin: float = Field(ge=0)
    mel_fmax: float | None
    num_mels: int = Field(gt=0)


class WhisperConfig(PublishedConfig):
    """What a small codec hears by: the first layers of the Whisper in a GLM tokenizer."""

    whisper_layers: int = Field(gt=0)


class VocosConfig(PublishedConfig):
    """Widths of the encoder, the prenet (with `condition_dim`) and the postnet."""

    input_channels: int = Field(gt=0)
    vocos_dim: int = Field(gt=0)
    vocos_intermediate_dim: int = Field(gt=0)
    vocos_num_layers: int = Field(gt=0)
    out_channels: int = Field(gt=0)
    condition_dim: int | None = None
    # Ratio 1 is all that was ever published; another would change the token rate.
    sample_ratios: tuple[Literal[1], ...] = (1, 1)
    use_tanh_at_final: Literal[False] = False


class WaveGeneratorConfig(PublishedConfig):
    """Upsampling from tokens to samples."""

    input_channel: int = Field(gt=0)
    channels: int = Field(gt=0)
    rates: tuple[int, ...]
    kernel_sizes: tuple[int, ...]


class ISTFTConfig(PublishedConfig):
    """A small codec's decoder: a Vocos backbone that paints spectra of `n_fft` samples."""

    input_channel: int = Field(gt=0)
    dim: int = Field(gt=0)
    intermediate_dim: int = Field(gt=0)
    num_layers: int = Field(gt=0)
    n_fft: int = Field(gt=0, multiple_of=2)
    hop_length: Literal[320]


def _decoder_kind(section: Any) -> str:
    return "istft" if "n_fft" in section else "waves"


DecoderConfig = Annotated[
    Annotated[WaveGeneratorConfig, Tag("waves")] | Annotated[ISTFTConfig, Tag("istft")],
    Discriminator(_decoder_kind),
]


class QuantizerConfig(PublishedConfig):
    """Codebook of the semantic tokens."""

    input_dim: int = Field(gt=0)
    codebook_size: int = Field(gt=0)
    codebook_dim: int = Field(gt=0)
    use_l2_normlize: Literal[True] = True  # spelt as published


class SpeakerEncoderConfig(PublishedConfig):
    """From a mel spectrogram to global tokens and the d-vector."""

    input_dim: int = Field(gt=0)
    out_dim: int = Field(gt=0)
    latent_dim: int = Field(gt=0)
    token_num: int = Field(gt=0)
    fsq_levels: tuple[int, ...]
    fsq_num_quantizers: Literal[1]


class NetworkConfig(PublishedConfig):
    """Section `audio_tokenizer`.

    `features` is of our making: states of a Whisper in the place of those of wav2vec 2.0, which
    every published checkpoint has beside it.
    """

    mel_params: MelConfig
    features: WhisperConfig | None = None
    encoder: VocosConfig
    decoder: DecoderConfig
    quantizer: QuantizerConfig
    speaker_encoder: SpeakerEncoderConfig
    prenet: VocosConfig
    postnet: VocosConfig


class BiCodecConfig(PublishedConfig):
    """The whole file."""

    sample_rate: Literal[16000]
    latent_hop_length: int = Field(gt=0)
    ref_segment_duration: float = Field(gt=0)
    volume_normalize: bool
    audio_tokenizer: NetworkConfig

    @property
    def reference_samples(self) -> int:
        """Length of the clip that the global tokens are made from: whole frames of it."""
        samples = int(self.ref_segment_duration * self.sample_rate)
        return samples // self.latent_hop_length * self.latent_hop_length


def read_config(path: Path) -> BiCodecConfig:
    """Read `config.yaml`; raises UserError that names the key at fault."""
    return parse(BiCodecConfig, read_yaml(path), str(path))
