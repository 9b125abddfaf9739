"""A checkpoint is loaded whole and exactly, or refused with the key at fault."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gpa.runtime.errors import UserError
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.glm.config import GLMConfig
from gpa.tokenize.glm.encoder import WhisperVQEncoder
from gpa.tokenize.small import GLM_CONFIG

PUBLISHED = {
    **GLM_CONFIG,
    "d_model": 1280,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "encoder_layers": 32,
    "pooling_position": 16,
    "quantize_position": 16,
    "quantize_vocab_size": 16384,
}


@pytest.fixture
def folder(small_folders, tmp_path) -> Path:
    """A copy of the small checkpoint, to be spoilt."""
    return Path(shutil.copytree(small_folders[1], tmp_path / "glm"))


def change(folder: Path, edit) -> None:
    path = folder / "model.safetensors"
    save_file(edit(load_file(path)), path)


def test_the_full_size_network_has_the_published_size():
    with torch.device("meta"):
        encoder = WhisperVQEncoder(GLMConfig.model_validate(PUBLISHED))
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 343_599_360


def test_the_prefix_of_a_whole_model_is_accepted(folder, glm, speech):
    change(folder, lambda tensors: {f"model.encoder.{key}": t for key, t in tensors.items()})
    clip = speech(40_000)
    (tokens,) = GLMTokenizer.load(folder).encode([clip], 16000)
    assert tokens.tolist() == glm.encode([clip], 16000)[0].tolist()


@pytest.mark.parametrize(
    "key", ["codebook.weight", "layers.0.self_attn.k_proj.weight", "ema_count"]
)
def test_a_missing_or_wrongly_shaped_key_is_named(folder, key):
    whole = load_file(folder / "model.safetensors")
    change(folder, lambda _: {name: tensor for name, tensor in whole.items() if name != key})
    with pytest.raises(UserError, match=f"{key} is missing"):
        GLMTokenizer.load(folder)
    change(folder, lambda _: {**whole, key: torch.zeros(3)})
    with pytest.raises(UserError, match=f"{key} has shape \\(3,\\)"):
        GLMTokenizer.load(folder)


def test_an_unexpected_key_is_named(folder):
    change(folder, lambda tensors: {**tensors, "layers.4.fc1.bias": torch.zeros(3)})
    with pytest.raises(UserError, match=r"layers\.4\.fc1\.bias is unexpected"):
        GLMTokenizer.load(folder)


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "encoder_causal_attention", True),
        ("config.json", "pooling_type", "max"),
        ("config.json", "pooling_position", 3),
        ("preprocessor_config.json", "hop_length", 320),
    ],
)
def test_a_model_of_another_kind_is_refused(folder, file, key, value):
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UserError, match=key):
        GLMTokenizer.load(folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="There is no folder"):
        GLMTokenizer.load(tmp_path / "nowhere")
