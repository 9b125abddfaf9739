"""What a codec is trained for: BiCodec's losses (arXiv:2503.01710, section 3.1), and ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from gpa.runtime.config import Config
from gpa.tokenize.bicodec.audio import magnitudes, mel_bands, mel_spectrogram
from gpa.tokenize.bicodec.config import MelConfig
from gpa.tokenize.bicodec.istft import ISTFTGenerator
from gpa.tokenize.bicodec.network import BiCodecNetwork
from gpa.tokenize.bicodec.wave_generator import WaveGenerator
from gpa.tokenize.clips import SAMPLE_RATE
from gpa.train.codec.codebook import Codebook
from gpa.train.codec.discriminators import DiscriminatorConfig, Discriminators

# Magnitudes below are all the same silence.
FLOOR = 1e-3
MOST_MELS = 100


class LossConfig(Config):
    """Weights of the losses; 0 leaves one out."""

    # Mean distance of log-mel bands and of log-magnitudes, over windows of these many samples.
    mel: NonNegativeFloat = 1.0
    stft: NonNegativeFloat = 0.5
    windows: tuple[PositiveInt, ...] = (1024, 256)
    # Mean distance of the log-magnitudes that an ISTFT head paints.
    frames: NonNegativeFloat = 1.0
    # Distance of the features that the postnet finds again, and of their change in time.
    features: NonNegativeFloat = 1.0
    change: NonNegativeFloat = 0.3
    # Distance of what is looked up from its code.
    commitment: NonNegativeFloat = 0.25
    # How unevenly the latents lie in the codebook's dimensions, and how alike the voices are.
    spread: NonNegativeFloat = 0.3
    voices: NonNegativeFloat = 0.3
    # Distance of the words of what is spoken, and of what is said with another's tokens, to the ear
    # that the tokens were heard with.
    words: NonNegativeFloat = 2.0
    # How far the voice of what is said with another's tokens is from that other's, to GE2E.
    conversion: NonNegativeFloat = 1.0
    # How surely discriminators tell what is decoded, and how differently they see it.
    adversarial: NonNegativeFloat = 0.0
    matching: NonNegativeFloat = 0.0
    discriminators: DiscriminatorConfig = DiscriminatorConfig()
    # Steps in which nothing is looked up, until the codebook starts from what there is.
    continuous_steps: int = Field(default=150, ge=0)


class Listeners(NamedTuple):
    """Who hears what is spoken, and is asked where the weight of their loss is not 0.

    `words` are heard in standardized waveforms (samples,), as features (batch, tokens, channels); a
    `voice` in waveforms (batch, 1, samples), as embeddings (batch, width).
    """

    words: Callable[[Sequence[Tensor]], Tensor] | None = None
    voice: Callable[[Tensor], Tensor] | None = None
    discriminators: Discriminators | None = None


NOBODY = Listeners()


class Batch(NamedTuple):
    """Pieces of speech: `waveforms` (batch, samples), what is heard of them (`features`, shape
    (batch, tokens, channels)), and other speech of who speaks, `voices` (batch, samples)."""

    waveforms: Tensor
    features: Tensor
    voices: Tensor


def losses(
    network: BiCodecNetwork,
    batch: Batch,
    config: LossConfig,
    codebook: Codebook | None,
    tokens_stay: bool = False,
    listeners: Listeners = NOBODY,
) -> dict[str, Tensor]:
    """Each weighted loss of a batch, by name, with gradients for the network, or, where the semantic
    tokens stay, for all but what makes them.

    Without a codebook nothing is looked up; discriminators learn a step.
    """
    with torch.set_grad_enabled(not tokens_stay):
        projected = network.quantizer.in_project(network.encoder(batch.features.transpose(1, 2)))
        # Without a codebook every direction is a code.
        codes = codebook.look_up(projected) if codebook else F.normalize(projected.detach(), dim=1)
        # The gradient passes the lookup as if it were not there.
        passed = projected + (codes - projected).detach()
    latents = network.speaker_encoder.latents(mel_spectrogram(batch.voices, network.mel_params))
    d_vectors = network.speaker_encoder.straight_through(latents)
    said = network.quantizer.out_project(passed)
    hidden = network.prenet(said, d_vectors)
    heard = network.postnet(hidden, None).transpose(1, 2)
    change = F.l1_loss(heard.diff(dim=1), batch.features.diff(dim=1))
    scalars = network.speaker_encoder.quantizer.project_in(latents)
    found = {
        "features": config.features * F.l1_loss(heard, batch.features),
        "change": config.change * change,
        "voices": config.voices * sameness(scalars),
    }
    if not tokens_stay:
        found |= {
            "commitment": config.commitment * F.mse_loss(projected, codes),
            "spread": config.spread * unevenness(projected),
        }
    rendered = hidden + d_vectors[:, :, None]
    found |= _spoken(network.decoder, rendered, batch.waveforms, config, listeners)
    if listeners.voice and len(d_vectors) > 1:
        found |= _converted(network, said, d_vectors, batch, config, listeners)
    return found


def unevenness(latents: Tensor) -> Tensor:
    """How far the directions of latents (batch, dim, frames) are from all dimensions alike.

    0 for a second moment of identity / dim, up to dim - 1 for a single direction. Left alone, the
    latents of log-mel frames lie in three dimensions, the loudest, and thousands of codes with them.
    """
    dim = latents.shape[1]
    directions = F.normalize(latents, dim=1).transpose(1, 2).flatten(0, 1)
    moment = dim * directions.T @ directions / len(directions)
    return (moment - torch.eye(dim, device=moment.device)).square().sum() / dim


def sameness(scalars: Tensor) -> Tensor:
    """How far what a batch's global tokens are rounded from, (batch, tokens, levels), is from mean 0
    and deviation 1 among its voices.

    Left alone, they drift to where all are rounded alike, and every voice has the same tokens.
    """
    deviations = (scalars.var(dim=0, correction=0) + 1e-4).sqrt()
    return (scalars.mean(dim=0).square() + (deviations - 1).square()).mean()


def _converted(
    network: BiCodecNetwork,
    said: Tensor,
    d_vectors: Tensor,
    batch: Batch,
    config: LossConfig,
    listeners: Listeners,
) -> dict[str, Tensor]:
    """Losses of converted speech: 1 - cosine of its voice to the one asked for, and its words.

    The first half of the batch, what is `said` (batch, dim, tokens), is spoken with the `d_vectors`
    (batch, width) of the other half.
    """
    assert listeners.voice
    half = len(said) // 2
    spoken = network.decoder(network.voiced(said[:half], d_vectors[-half:]))
    with torch.no_grad():
        asked_for = listeners.voice(batch.voices[-half:, None])
    alike = F.cosine_similarity(listeners.voice(spoken[:, None]), asked_for)
    found = {"conversion": config.conversion * (1 - alike.mean())}
    if listeners.words:
        misheard = words_loss(spoken, batch.waveforms[:half], listeners.words)
        found["converted_words"] = config.words * misheard
    return found


def words_loss(
    spoken: Tensor, target: Tensor, words: Callable[[Sequence[Tensor]], Tensor]
) -> Tensor:
    """Mean distance of what is heard in waveforms (batch, samples), whatever their level."""
    with torch.no_grad():
        said = words(list(_standardized(target)))
    return F.l1_loss(words(list(_standardized(spoken))), said)


def _standardized(waveforms: Tensor) -> Tensor:
    """As features.standardize: zero mean and unit variance over each waveform."""
    centred = waveforms - waveforms.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + 1e-7).sqrt()


def _spoken(
    decoder: ISTFTGenerator | WaveGenerator,
    rendered: Tensor,
    waveforms: Tensor,
    config: LossConfig,
    listeners: Listeners,
) -> dict[str, Tensor]:
    """Losses of the waveforms that the decoder makes."""
    found: dict[str, Tensor] = {}
    target = waveforms[:, : rendered.shape[2] * decoder.samples_per_token]
    if isinstance(decoder, ISTFTGenerator):
        log_magnitude, phase = decoder.paint(rendered)
        goal = _log(decoder.analyse(target).abs())
        found["frames"] = config.frames * F.l1_loss(log_magnitude, goal)
        spoken = decoder.overlap(log_magnitude.exp(), phase)
    else:
        spoken = decoder(rendered)
    found["mel"], found["stft"] = spectral_losses(spoken, target, config)
    if listeners.words:
        found["words"] = config.words * words_loss(spoken, target, listeners.words)
    if listeners.discriminators:
        listeners.discriminators.learn(spoken, target)
        told, unlike = listeners.discriminators.losses(spoken, target)
        found |= {"adversarial": config.adversarial * told, "matching": config.matching * unlike}
    return found


def spectral_losses(spoken: Tensor, target: Tensor, config: LossConfig) -> tuple[Tensor, Tensor]:
    """Weighted distances of log-mel bands and of log-magnitudes of waveforms (batch, samples)."""
    mel, stft = [], []
    for window in config.windows:
        geometry = _geometry(window)
        ours, theirs = magnitudes(spoken, geometry), magnitudes(target, geometry)
        bands = mel_bands(geometry).to(ours.device)
        mel.append(F.l1_loss(_log(bands @ ours), _log(bands @ theirs)))
        stft.append(F.l1_loss(_log(ours), _log(theirs)))
    return config.mel * torch.stack(mel).mean(), config.stft * torch.stack(stft).mean()


def _log(amounts: Tensor) -> Tensor:
    return amounts.clamp(min=FLOOR).log()


@cache
def _geometry(window: int) -> MelConfig:
    return MelConfig(
        sample_rate=SAMPLE_RATE,
        n_fft=window,
        win_length=window,
        hop_length=window // 4,
        mel_fmin=0,
        mel_fmax=None,
        num_mels=min(MOST_MELS, window // 8),
    )
