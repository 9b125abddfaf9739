"""Small random checkpoints of both tokenizers, made from a seed: `TOKENIZER=random`.

Same architectures, same file layout, the published numbers of tokens, and random weights: the
whole chain runs on them, and their tokens carry NO trained codec. Whatever shows such tokens to
a person says so with `NOTICE`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from gpa.runtime.cache import build_once
from gpa.runtime.config import digest
from gpa.tokenize.bicodec.config import BiCodecConfig
from gpa.tokenize.bicodec.loading import WAV2VEC2
from gpa.tokenize.bicodec.network import BiCodecNetwork
from gpa.tokenize.glm.config import FEATURE_SETTINGS, GLMConfig
from gpa.tokenize.glm.encoder import WhisperVQEncoder

NOTICE = "made with a small random tokenizer; its tokens carry no speech"

BICODEC = "BiCodec"
GLM = "glm-4-voice-tokenizer"

# Part of the cached folder's name: raise it when anything below changes what is written.
VERSION = 1

ECAPA_CHANNELS = 32
ECAPA_FEATURES = 64

_VOCOS = {
    "input_channels": 48,
    "vocos_dim": 32,
    "vocos_intermediate_dim": 64,
    "vocos_num_layers": 12,
    "out_channels": 48,
    "sample_ratios": [1, 1],
}

BICODEC_CONFIG: dict[str, Any] = {
    "sample_rate": 16000,
    "latent_hop_length": 320,
    "ref_segment_duration": 6,
    "volume_normalize": True,
    "audio_tokenizer": {
        "mel_params": {
            "sample_rate": 16000,
            "n_fft": 1024,
            "win_length": 640,
            "hop_length": 320,
            "mel_fmin": 10,
            "mel_fmax": None,
            "num_mels": 128,
        },
        "encoder": _VOCOS,
        "decoder": {
            "input_channel": 48,
            "channels": 64,
            "rates": [8, 5, 4, 2],
            "kernel_sizes": [16, 11, 8, 4],
        },
        "quantizer": {
            "input_dim": 48,
            "codebook_size": 8192,
            "codebook_dim": 8,
            "use_l2_normlize": True,
        },
        "speaker_encoder": {
            "input_dim": 128,
            "out_dim": 48,
            "latent_dim": 32,
            "token_num": 32,
            "fsq_levels": [4] * 6,
            "fsq_num_quantizers": 1,
        },
        "prenet": {**_VOCOS, "condition_dim": 48, "use_tanh_at_final": False},
        "postnet": {**_VOCOS, "vocos_num_layers": 6, "use_tanh_at_final": False},
    },
}

WAV2VEC2_CONFIG: dict[str, Any] = {
    "model_type": "wav2vec2",
    "architectures": ["Wav2Vec2Model"],
    "conv_bias": True,
    "conv_dim": [32] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "hidden_size": 48,
    "intermediate_size": 96,
    "mask_time_prob": 0.075,
    "num_attention_heads": 4,
    "num_conv_pos_embedding_groups": 4,
    "num_conv_pos_embeddings": 128,
    "num_feat_extract_layers": 7,
    "num_hidden_layers": 17,
}

WAV2VEC2_FEATURES: dict[str, Any] = {
    "do_normalize": True,
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "feature_size": 1,
    "padding_value": 0.0,
    "sampling_rate": 16000,
}

GLM_CONFIG: dict[str, Any] = {
    "architectures": ["WhisperVQEncoder"],
    "model_type": "whisper",
    "activation_function": "gelu",
    "d_model": 64,
    "encoder_attention_heads": 4,
    "encoder_causal_attention": False,
    "encoder_causal_convolution": True,
    "encoder_ffn_dim": 128,
    "encoder_layers": 4,
    "max_source_positions": 1500,
    "num_mel_bins": 128,
    "pooling_kernel_size": 4,
    "pooling_position": 4,
    "pooling_type": "avg",
    "quantize_causal_block_size": 200,
    "quantize_causal_encoder": False,
    "quantize_position": 4,
    "quantize_vocab_size": 16384,
    "scale_embedding": False,
}

GLM_FEATURES: dict[str, Any] = {
    **FEATURE_SETTINGS,
    "feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": 128,
}


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

    _write_checkpoint(folder / BICODEC, bicodec, generator)
    text = yaml.safe_dump(BICODEC_CONFIG, sort_keys=False)
    (folder / BICODEC / "config.yaml").write_text(text, encoding="utf-8")

    _write_checkpoint(folder / BICODEC / WAV2VEC2, wav2vec2, generator)
    _write_json(folder / BICODEC / WAV2VEC2 / "config.json", WAV2VEC2_CONFIG)
    _write_json(folder / BICODEC / WAV2VEC2 / "preprocessor_config.json", WAV2VEC2_FEATURES)

    _write_checkpoint(folder / GLM, glm, generator)
    _write_json(folder / GLM / "config.json", GLM_CONFIG)
    _write_json(folder / GLM / "preprocessor_config.json", GLM_FEATURES)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _write_checkpoint(folder: Path, network: nn.Module, generator: torch.Generator) -> None:
    """Write `model.safetensors` of a network built on the meta device, with drawn weights."""
    folder.mkdir(parents=True)
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
