"""The small GLM tokenizer: a Whisper's first layers as they are, and codes of curated speech."""

from __future__ import annotations

import ctranslate2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from gpa.tokenize.checkpoint import load_strictly
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.glm.config import GLMConfig
from gpa.tokenize.glm.encoder import WhisperVQEncoder
from gpa.tokenize.small import GLM_CONFIG
from gpa.tokenize.weights import SMALL_GLM
from gpa.train.codec.glm import encoder_tensors, make, read_ctranslate2
from tests.curation.curated_out import good_entries, write_curated
from tests.curation.models.tiny_whisper import whisper
from tests.models import make_speech


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Curated speech of two utterances, and the tokenizer that is made of it."""
    folder = tmp_path_factory.mktemp("made")
    curated = write_curated(folder / "out", [good_entries()[:2]])
    make(str(curated), folder / "glm")
    return curated, folder / "glm"


def test_its_encoder_hears_what_whisper_hears_a_step_later(tmp_path):
    folder = whisper(tmp_path, decoder_layers=1)
    variables = read_ctranslate2(folder / "model.bin")
    sizes = {"d_model": 16, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    places = {"pooling_position": 1, "quantize_position": 1, "quantize_vocab_size": 4}
    # One block, since Whisper knows none.
    settings = {**GLM_CONFIG, **sizes, **places, "quantize_causal_block_size": 1500}
    with torch.device("meta"):
        encoder = WhisperVQEncoder(GLMConfig.model_validate(settings))
    load_strictly(encoder, encoder_tensors(variables, layers=1, codes=4), folder)
    mel = torch.randn(1, 128, 3000, generator=torch.Generator().manual_seed(0))
    states = encoder.layers[0](encoder.convolved(mel), None)
    scale, shift = (variables[f"encoder/layer_norm/{part}"] for part in ("gamma", "beta"))
    ours = F.layer_norm(states, (16,), scale, shift)[0].numpy()

    model = ctranslate2.models.Whisper(str(folder), compute_type="float32")
    theirs = np.array(model.encode(ctranslate2.StorageView.from_array(mel.numpy())))[0]
    # Whisper pads convolutions with zeros at the clip's beginning, and attends to one step less.
    np.testing.assert_allclose(ours[2:], theirs[1:-1], atol=0.02)


def test_the_same_speech_makes_the_same_file(made, tmp_path):
    curated, folder = made
    make(str(curated), tmp_path)
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_the_shipped_one_has_the_encoder_that_is_made(made):
    shipped, tensors = (load_file(each / "model.safetensors") for each in (SMALL_GLM, made[1]))
    assert shipped.keys() == tensors.keys()
    for key in shipped.keys() - {"codebook.weight", "ema_count", "ema_weight"}:
        assert torch.equal(shipped[key], tensors[key]), key


def test_speech_is_told_from_silence():
    glm = GLMTokenizer.load(SMALL_GLM)
    spoken, silent = glm.encode([make_speech(80_000), np.zeros(80_000, np.float32)], 16_000)
    assert len(set(spoken)) > len(set(silent))
    assert not set(spoken[2:]) & set(silent[2:])


def test_a_binary_of_another_version_is_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes((5).to_bytes(4, "little"))
    with pytest.raises(ValueError, match="has version 5 and not 6"):
        read_ctranslate2(tmp_path / "model.bin")
