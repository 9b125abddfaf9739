"""`config.json` of a GLM-4-Voice tokenizer, typed; keys that inference does not need are ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from gpa.runtime.config import Config, parse, read_json
from gpa.runtime.errors import UserError

# What the log-mel is made with; the network was trained on nothing else.
FEATURE_SETTINGS = {"sampling_rate": 16000, "n_fft": 400, "hop_length": 160, "chunk_length": 30}


class GLMConfig(Config):
    """Widths, and the switches of the published code that our code has in one position only."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    num_mel_bins: int = Field(gt=0)
    d_model: int = Field(gt=0)
    encoder_attention_heads: int = Field(gt=0)
    encoder_ffn_dim: int = Field(gt=0)
    max_source_positions: int = Field(gt=0)
    pooling_kernel_size: int = Field(gt=0)
    # The layer after which states are pooled and looked up; later layers do not exist.
    pooling_position: int = Field(gt=0)
    quantize_position: int = Field(gt=0)
    quantize_vocab_size: int = Field(gt=0)
    quantize_causal_block_size: int = Field(gt=0)
    pooling_type: Literal["avg"]
    encoder_causal_convolution: Literal[True]
    encoder_causal_attention: Literal[False]
    quantize_causal_encoder: Literal[False]
    activation_function: Literal["gelu"] = "gelu"
    scale_embedding: Literal[False] = False


def read_config(folder: Path) -> GLMConfig:
    """Read `config.json`, and check `preprocessor_config.json`; raises UserError."""
    path = folder / "config.json"
    config = parse(GLMConfig, read_json(path), str(path))
    if config.pooling_position != config.quantize_position:
        raise UserError(
            f"{path}: pooling_position is {config.pooling_position} and quantize_position "
            f"{config.quantize_position}; only equal ones are supported."
        )
    path = folder / "preprocessor_config.json"
    features = read_json(path)
    for key, value in {**FEATURE_SETTINGS, "feature_size": config.num_mel_bins}.items():
        if features.get(key) != value:
            raise UserError(f"{path}: {key} is {features.get(key)}, the model needs {value}.")
    return config
