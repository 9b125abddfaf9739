"""Small tokenizers and made-up audio, shared by the tests of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.small import small_tokenizers

# As everywhere in the project: processes share the cores, so each uses one.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of the small BiCodec and the small GLM tokenizer, seed 0."""
    return small_tokenizers(tmp_path_factory.mktemp("tokenizers"), seed=0)


@pytest.fixture(scope="session")
def bicodec(small_folders: tuple[Path, Path]) -> BiCodec:
    return BiCodec.load(small_folders[0])


@pytest.fixture(scope="session")
def glm(small_folders: tuple[Path, Path]) -> GLMTokenizer:
    return GLMTokenizer.load(small_folders[1])


def make_speech(samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Something like speech at 16 kHz: gliding harmonics, syllables and some noise."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(samples) / 16000
    pitch_hz = generator.uniform(80, 250) * (1 + 0.2 * np.sin(2 * np.pi * 0.7 * time_s))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / 16000
    harmonics = sum(
        weight * np.sin(order * phase)
        for order, weight in enumerate(generator.uniform(0.1, 1, 12), start=1)
    )
    syllables = np.abs(np.sin(2 * np.pi * generator.uniform(1, 3) * time_s)) ** 2
    noise = 0.05 * generator.standard_normal(samples)
    return (0.05 * harmonics * syllables + 0.1 * noise).astype(np.float32)


@pytest.fixture(scope="session")
def speech():
    """Maker of clips: `speech(samples, seed)`."""
    return make_speech
