"""A checkpoint is loaded whole and exactly, or refused with the key at fault."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.bicodec.config import NetworkConfig
from gpa.tokenize.bicodec.network import BiCodecNetwork

WAV2VEC2 = "wav2vec2-large-xlsr-53"

PUBLISHED_VOCOS = {
    "input_channels": 1024,
    "vocos_dim": 384,
    "vocos_intermediate_dim": 2048,
    "vocos_num_layers": 12,
    "out_channels": 1024,
    "sample_ratios": [1, 1],
}
PUBLISHED = {
    "mel_params": {
        "sample_rate": 16000,
        "n_fft": 1024,
        "win_length": 640,
        "hop_length": 320,
        "mel_fmin": 10,
        "mel_fmax": None,
        "num_mels": 128,
    },
    "encoder": PUBLISHED_VOCOS,
    "decoder": {
        "input_channel": 1024,
        "channels": 1536,
        "rates": [8, 5, 4, 2],
        "kernel_sizes": [16, 11, 8, 4],
    },
    "quantizer": {"input_dim": 1024, "codebook_size": 8192, "codebook_dim": 8},
    "speaker_encoder": {
        "input_dim": 128,
        "out_dim": 1024,
        "latent_dim": 128,
        "token_num": 32,
        "fsq_levels": [4] * 6,
        "fsq_num_quantizers": 1,
    },
    "prenet": {**PUBLISHED_VOCOS, "condition_dim": 1024},
    "postnet": {**PUBLISHED_VOCOS, "vocos_num_layers": 6},
}


@pytest.fixture(scope="module")
def published_network() -> BiCodecNetwork:
    with torch.device("meta"):
        return BiCodecNetwork(NetworkConfig.model_validate(PUBLISHED))


def test_the_full_size_network_has_the_published_keys_and_shapes(
    published_network, shared_fixtures
):
    lines = (shared_fixtures / "bicodec_keys.tsv").read_text().splitlines()
    expected = {key: json.loads(shape) for key, shape in (line.split("\t") for line in lines)}
    state = published_network.state_dict()
    assert {key: list(tensor.shape) for key, tensor in state.items()} == expected


def test_the_full_size_network_has_the_published_size(published_network):
    assert sum(tensor.numel() for tensor in published_network.state_dict().values()) == 156_354_601


def test_the_full_size_network_needs_67_tokens_of_context(published_network):
    assert published_network.prenet.reach == 57
    assert published_network.decoder.reach == 10


@pytest.fixture
def folder(small_folders, tmp_path) -> Path:
    """A copy of the small checkpoint, to be spoilt."""
    return Path(shutil.copytree(small_folders[0], tmp_path / "BiCodec"))


def change(folder: Path, edit) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


KEYS = [
    "quantizer.codebook.weight",
    "encoder.encoder.embed.weight",
    "postnet.linear.bias",
    "speaker_encoder.speaker_encoder.conv.bias",
    "speaker_encoder.speaker_encoder.layer1.bn.bias",
    "decoder.model.1.block.1.weight_g",
]


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(folder, key):
    change(folder, lambda tensors: tensors.pop(key))
    with pytest.raises(UserError, match=f"{key} is missing"):
        BiCodec.load(folder)


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_shape_is_named(folder, key):
    change(folder, lambda tensors: tensors.update({key: torch.zeros(7, 3)}))
    with pytest.raises(UserError, match=f": {key} has shape \\(7, 3\\)"):
        BiCodec.load(folder)


def test_an_unexpected_key_is_named(folder):
    change(folder, lambda tensors: tensors.update({"decoder.extra": torch.zeros(2)}))
    with pytest.raises(UserError, match=r"decoder\.extra is unexpected"):
        BiCodec.load(folder)


def test_constants_that_other_exports_hold_are_computed_instead(folder):
    window = {"mel_transformer.spectrogram.window": torch.zeros(640)}
    change(folder, lambda tensors: tensors.update(window))
    BiCodec.load(folder)


@pytest.mark.parametrize(
    "key", ["encoder.layers.16.layer_norm.weight", "encoder.pos_conv_embed.conv.bias"]
)
def test_a_missing_key_of_wav2vec2_is_named(folder, key):
    change(folder / WAV2VEC2, lambda tensors: tensors.pop(key))
    with pytest.raises(UserError, match=f"{key} is missing"):
        BiCodec.load(folder)


def as_pretraining_checkpoint(folder: Path) -> None:
    """Rewrite wav2vec 2.0 as the pretraining task saved it, with the old key names."""
    weights = "wav2vec2.encoder.pos_conv_embed.conv."
    old = {
        weights + "parametrizations.weight.original0": weights + "weight_g",
        weights + "parametrizations.weight.original1": weights + "weight_v",
    }
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    prefixed = {f"wav2vec2.{key}": tensor for key, tensor in tensors.items()}
    renamed = {old.get(key, key): tensor for key, tensor in prefixed.items()}
    torch.save({**renamed, "project_q.weight": torch.zeros(2, 2)}, folder / "pytorch_model.bin")


def test_wav2vec2_inside_a_pretraining_checkpoint_is_read(folder, bicodec, speech):
    as_pretraining_checkpoint(folder / WAV2VEC2)
    clip = speech(20_000)
    (expected,) = bicodec.encode([clip], 16000)
    (tokens,) = BiCodec.load(folder).encode([clip], 16000)
    assert tokens.semantic_tokens.tolist() == expected.semantic_tokens.tolist()


def test_a_pickle_that_runs_code_is_refused(folder):
    (folder / WAV2VEC2 / "model.safetensors").unlink()
    torch.save({"weights": Path("/")}, folder / WAV2VEC2 / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model\.bin can't be read"):
        BiCodec.load(folder)


def test_a_truncated_file_is_named(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"model\.safetensors can't be read"):
        BiCodec.load(folder)


def test_missing_parts_are_named(folder, tmp_path):
    with pytest.raises(UserError, match="There is no folder"):
        BiCodec.load(tmp_path / "nowhere")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"neither model\.safetensors nor"):
        BiCodec.load(folder)
    shutil.rmtree(folder / WAV2VEC2)
    with pytest.raises(UserError, match=f"There is no folder {WAV2VEC2}"):
        BiCodec.load(folder)


def test_a_config_that_does_not_fit_is_an_error_naming_its_key(folder):
    path = folder / "config.yaml"
    content = yaml.safe_load(path.read_text())
    content["audio_tokenizer"]["encoder"]["sample_ratios"] = [2, 1]
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=r"audio_tokenizer\.encoder\.sample_ratios"):
        BiCodec.load(folder)


def test_a_wav2vec2_without_a_layer_above_those_used_is_refused(folder):
    path = folder / WAV2VEC2 / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "num_hidden_layers": 16}))
    with pytest.raises(UserError, match="num_hidden_layers is 16"):
        BiCodec.load(folder)
