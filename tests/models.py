"""Small models, and what is made for them, shared by the tests that run any.

A conftest imports the fixtures that its folder needs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import Qwen3ForCausalLM

from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.shards import (
    Provenance,
    TokenShards,
    Utterance,
    UtteranceTokens,
    token_rows,
    write_index,
    write_shard,
)
from gpa.tokenize.small import small_tokenizers
from gpa.tokenize.vocabulary import Vocabulary
from gpa.train.sizes import new_model

SENTENCES = (
    "Mister Quilter is the apostle of the middle classes.",
    "We are glad to welcome his gospel.",
    "甚至出现交易几乎停滞的情况。",
    "一二线城市虽然也处于调整中。",
    "He hoped there would be stew for dinner.",
    "Nor is his manner less interesting than his matter!",
    "可是他没有来",
    "Stuff it into you, his belly counselled him.",
)


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order, whatever machine the tests run on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return Vocabulary.build()


@pytest.fixture(scope="session")
def tiny_model() -> Qwen3ForCausalLM:
    """The `tiny` size with random weights; its answers mean nothing and never end by themselves."""
    return new_model("tiny", seed=0)


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


MakeShards = Callable[..., TokenShards]


@pytest.fixture(scope="session")
def make_shards(vocabulary: Vocabulary) -> MakeShards:
    """Write `count` utterances of up to `longest` semantic tokens by `speakers` speakers."""

    def make(
        folder: Path, count: int, *, speakers: int = 4, longest: int = 60, trained: bool = True
    ) -> TokenShards:
        rng = np.random.default_rng(0)
        utterances = []
        for number in range(count):
            frames = int(rng.integers(4, longest + 1))
            text = SENTENCES[number % len(SENTENCES)]
            if number >= len(SENTENCES):
                text = f"{text} {number}"
            utterances.append(
                Utterance(
                    utterance_id=f"recording-{number:09d}",
                    speaker=f"speaker-{number % speakers}",
                    language="en" if text.isascii() else "zh",
                    source=("books", "calls")[number % 2],
                    text=text,
                    duration_s=frames / 50,
                    tokens=UtteranceTokens(
                        text_tokens=vocabulary.encode_text(text),
                        glm_tokens=rng.integers(0, 16_384, -(-frames // 4), dtype=np.uint16),
                        semantic_tokens=rng.integers(0, 8_192, frames, dtype=np.uint16),
                        global_tokens=rng.integers(0, 4_096, 32, dtype=np.uint16),
                    ),
                )
            )
        folder.mkdir(parents=True, exist_ok=True)
        half = count // 2
        index = [
            write_shard(folder / f"shard-{number:06d}.arrow", token_rows(part))
            for number, part in enumerate((utterances[:half], utterances[half:]))
        ]
        provenance = Provenance(vocabulary.text_digest, "bicodec", "glm", trained)
        write_index(folder, index, provenance)
        return TokenShards(folder)

    return make


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
