"""Speaker similarity: one voice is like itself, two are not; both encoders are real networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMForXVector, WavLMModel

from gpa.runtime.errors import UserError
from gpa.train import similarity
from gpa.train.similarity import GE2EConfig, cosine, load_encoder, similarities
from tests.curation.models.asr.samples import sample_clip

RATE = 16000


@pytest.fixture(scope="module")
def ge2e():
    return load_encoder(GE2EConfig())


@pytest.fixture(scope="module")
def xvector_folder(tmp_path_factory):
    """A checkpoint in transformers' layout: a small WavLM with an x-vector head."""
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    small |= {"intermediate_size": 32, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16}
    config = WavLMConfig(**small, tdnn_dim=[16] * 4 + [48], xvector_output_dim=24)
    folder = tmp_path_factory.mktemp("xvector")
    WavLMForXVector(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    WavLMModel(config).save_pretrained(folder / "headless")
    Wav2Vec2FeatureExtractor().save_pretrained(folder / "headless")
    return folder


def test_a_voice_is_more_like_itself_than_like_another(ge2e):
    english = [sample_clip(f"en/{name}") for name in ("quick_brown_fox", "counting")]
    mandarin = sample_clip("zh/pangrama")
    own, other = similarities(ge2e, [tuple(english), (english[0], mandarin)])
    assert own > other
    assert similarities(ge2e, [(english[0], english[0])]) == [pytest.approx(1, abs=1e-6)]


def test_speech_too_short_to_have_a_voice_is_like_none(ge2e):
    voice = sample_clip("en/counting")
    empty, short = np.zeros(0, np.float32), voice[: RATE // 2]
    assert similarities(ge2e, [(empty, voice), (short, voice)]) == [0, 0]


def test_a_voice_too_short_to_be_compared_with_is_an_error(ge2e):
    voice = sample_clip("en/counting")
    with pytest.raises(UserError, match=r"A voice of 0\.50 s"):
        similarities(ge2e, [(voice, voice[: RATE // 2])])


def test_an_x_vector_checkpoint_embeds_as_transformers_does(xvector_folder):
    encoder = load_encoder(similarity.WavLMConfig(weights=str(xvector_folder)))
    clip = sample_clip("en/counting")
    standard = torch.from_numpy((clip - clip.mean()) / np.sqrt(clip.var() + 1e-7))
    with torch.no_grad():
        network = WavLMForXVector.from_pretrained(xvector_folder).eval()
        expected = network(standard[None]).embeddings[0].numpy()
    found = encoder.embed(clip)
    assert found.shape == (24,)
    assert cosine(found, expected) == pytest.approx(1, abs=1e-5)
    # An untrained network tells no voices apart; the figure is a cosine all the same.
    (figure,) = similarities(encoder, [(clip, sample_clip("zh/pangrama"))])
    assert -1 <= figure <= 1


def test_a_checkpoint_without_the_head_is_refused(xvector_folder):
    with pytest.raises(UserError, match="no checkpoint of speaker verification"):
        load_encoder(similarity.WavLMConfig(weights=str(xvector_folder / "headless")))


def test_an_encoder_that_is_nowhere_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(UserError, match=r"mend eval\.speakers"):
        load_encoder(similarity.WavLMConfig(weights=str(tmp_path)))
