"""Small random checkpoints of both tokenizers, made from a seed: `TOKENIZER=random`.

Same architectures, same file layout, the published numbers of tokens, and random weights: the
whole chain runs on them, and their tokens carry NO trained codec. Whatever shows such tokens to
a person says so with `NOTICE`.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from gpa.runtime.cache import build_once
from gpa.runtime.config import digest, read_json, read_yaml
from gpa.tokenize.bicodec.config import BiCodecConfig
from gpa.tokenize.bicodec.loading import WAV2VEC2
from gpa.tokenize.bicodec.network import BiCodecNetwork
from gpa.tokenize.glm.config import GLMConfig
from gpa.tokenize.glm.encoder import WhisperVQEncoder

NOTICE = "made with a small random tokenizer; its tokens carry no speech"

BICODEC = "BiCodec"
GLM = "glm-4-voice-tokenizer"

# What stands beside the weights: the same files in every checkpoint.
SETTINGS = Path(__file__).parent / "random"
BICODEC_CONFIG: dict[str, Any] = read_yaml(SETTINGS / BICODEC / "config.yaml")
WAV2VEC2_CONFIG = read_json(SETTINGS / BICODEC / WAV2VEC2 / "config.json")
GLM_CONFIG = read_json(SETTINGS / GLM / "config.json")
GLM_FEATURES = read_json(SETTINGS / GLM / "preprocessor_config.json")

# Part of the cached folder's name: raise it when anything here changes what is written.
VERSION = 1

ECAPA_CHANNELS = 32
ECAPA_FEATURES = 64


def small_tokenizers(cache: Path, seed: int) -> tuple[Path, Path]:
    """Folders of the small BiCodec and the small GLM tokenizer, made unless they are cached.

    They appear in `cache` whole or not at all, so any number of processes may call this at once.
    """
    configs = [BICODEC_CONFIG, WAV2VEC2_CONFIG, GLM_CONFIG]
    name = f"small-{digest([VERSION, seed, configs])}"
    folder = build_once(name, lambda unfinished: _write_both(unfinished, seed), cache)
    return folder / BICODEC, folder / GLM


def _write_both(folder: Path, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        config = BiCodecConfig.model_validate(BICODEC_CONFIG)
        bicodec = BiCodecNetwork(config.audio_tokenizer, ECAPA_CHANNELS, ECAPA_FEATURES)
        wav2vec2 = Wav2Vec2Model(Wav2Vec2Config.from_dict(WAV2VEC2_CONFIG))
        glm = WhisperVQEncoder(GLMConfig.model_validate(GLM_CONFIG))
    shutil.copytree(SETTINGS, folder, dirs_exist_ok=True)
    _write_weights(folder / BICODEC, bicodec, generator)
    _write_weights(folder / BICODEC / WAV2VEC2, wav2vec2, generator)
    _write_weights(folder / GLM, glm, generator)


def _write_weights(folder: Path, network: nn.Module, generator: torch.Generator) -> None:
    """Write `model.safetensors` of a network built on the meta device, with drawn weights."""
    shapes = network.state_dict()
    drawn = {key: _draw(key, shapes[key], generator) for key in sorted(shapes)}
    save_file(drawn, folder / "model.safetensors", metadata={"format": "pt"})


def _draw(key: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """Weights that keep a signal's size from layer to layer, so that tokens vary with the audio."""
    name = key.rsplit(".", 1)[-1]
    if not like.dtype.is_floating_point:
        return torch.zeros(like.shape, dtype=like.dtype)
    normal = torch.randn(like.shape, generator=generator)
    if name in ("bias", "running_mean"):
        return 0.02 * normal
    if name in ("running_var", "cluster_size", "ema_count"):
        return torch.ones(like.shape)
    if name == "weight_g" and key.startswith("decoder."):
        return 0.6 + 0.06 * normal
    if name in ("gamma", "alpha", "weight_g", "original0") or like.dim() == 1:
        return 1 + 0.1 * normal
    if name == "latents" or "embed_positions" in key:
        return 0.2 * normal
    if "codebook" in key or name == "ema_weight":
        return normal
    # Inputs have much in common at all times, such as the positive mean that ReLU leaves; weights
    # that add up to nothing let through what differs. Twice the usual variance suits ReLU.
    inputs = tuple(range(1, like.dim()))
    centred = normal - normal.mean(dim=inputs, keepdim=True)
    # What attention has averaged over time is the most common of all.
    gain = 0.2 if key.endswith("out_proj.weight") else 1.0
    return gain * centred * math.sqrt(2 / math.prod(like.shape[1:]))
