"""Token shards of made-up speech with real sentences, and a small training config."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gpa.tokenize.shards import (
    Provenance,
    TokenShards,
    Utterance,
    UtteranceTokens,
    write_index,
    write_shard,
)
from gpa.tokenize.vocabulary import Vocabulary
from gpa.train.trainer import TrainConfig

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
        index = write_shard(folder / "shard-000000.tar", utterances[:half])
        index += write_shard(folder / "shard-000001.tar", utterances[half:])
        provenance = Provenance(vocabulary.text_digest, "bicodec", "glm", trained)
        write_index(folder, index, provenance)
        return TokenShards(folder)

    return make


@pytest.fixture
def config() -> TrainConfig:
    """A run of a few small steps of the tiny model."""
    return TrainConfig.model_validate(
        {
            "held_back_share": 0.25,
            "evaluate_every_steps": 2,
            "save_every_steps": 2,
            "keep_checkpoints": 2,
            "loader_workers": 0,
            "batches": {"tiny": {"row_tokens": 256, "rows_per_step": 2, "rows_at_once": 1}},
            "phases": {
                phase: {
                    "supervise": supervise,
                    "steps": 4,
                    "learning_rate": {"tiny": 3e-3, "0.3b": 1e-3},
                    "mixture": {"tasks": {"asr": 1, "tts": 1, "vc": 1}},
                }
                for phase, supervise in (("pretrain", "all"), ("sft", "answer"))
            },
        }
    )
