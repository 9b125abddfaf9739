"""Against outputs of the public reference implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.glm.features import log_mel

NAMES = ["w1", "w7p3", "w31"]


@pytest.fixture(scope="module")
def folder(shared_fixtures: Path) -> Path:
    return shared_fixtures / "glm_tiny"


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> GLMTokenizer:
    return GLMTokenizer.load(folder)


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "expected.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def clips(folder: Path) -> dict[str, np.ndarray]:
    return {name: soundfile.read(folder / f"{name}.wav", dtype="float32")[0] for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_tokens_are_the_reference_s(name, tokenizer, clips, folder):
    (tokens,) = tokenizer.encode([clips[name]], 16000)
    np.testing.assert_array_equal(tokens, np.load(folder / f"expected_{name}.npy"))


def test_a_batch_has_the_reference_s_tokens(tokenizer, clips, expected):
    for name, tokens in zip(NAMES, tokenizer.encode(list(clips.values()), 16000), strict=True):
        np.testing.assert_array_equal(tokens, expected[name])


def test_every_step_is_the_reference_s(tokenizer, clips, expected):
    clip = clips["w7p3"]
    with torch.inference_mode():
        mel = log_mel(torch.from_numpy(clip), 128)
        convolved = tokenizer.encoder.convolved(mel[None])[0]
        states = tokenizer.states([clip])[0]
        nearest = tokenizer.encoder.distances(states).topk(2, largest=False).values
    # The reference's log-mel was stored in float16.
    np.testing.assert_allclose(mel, expected["w7p3.input_features"], atol=1e-3)
    np.testing.assert_allclose(convolved, expected["w7p3.conv_plus_pos"], atol=1e-4)
    np.testing.assert_allclose(states, expected["w7p3.pre_vq"], atol=1e-4)
    np.testing.assert_allclose(nearest.diff(dim=1)[:, 0], expected["w7p3.margin"], atol=1e-3)
