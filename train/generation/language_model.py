"""A checkpoint as it answers prompts: ids in, tokens out. Neither audio nor a tokenizer of audio.

Prompts come from requests (eval/generation/prompts.py), or from tokens that were made before.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from gpa.runtime.config import Config
from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec.model import Tokens
from gpa.tokenize.clips import batches_by_length
from gpa.tokenize.sequences import TASKS, Task
from gpa.tokenize.vocabulary import Ids, Vocabulary
from gpa.train.generation.decoding import Engine, Legal, Token, TransformersEngine
from gpa.train.generation.sampling import SamplingConfig
from gpa.train.generation.vllm import VLLMEngine
from gpa.train.sizes import base_of, load_model, model_config, size_of
from gpa.train.trainer import checkpoints


class GenerationConfig(Config):
    """Settings of each task, and how much is worked on at once."""

    asr: SamplingConfig
    tts: SamplingConfig
    vc: SamplingConfig
    seed: int = 0
    # What runs the model: "vllm" for throughput on a GPU (vllm.py).
    engine: Literal["transformers", "vllm"] = "transformers"
    # Of the weights and the cache on the transformers engine; vLLM takes bfloat16.
    dtype: Literal["float32", "bfloat16"] = "float32"
    # Bounds the KV cache: tokens of prompts and longest answers, padding included, in one batch.
    batch_tokens: int = Field(16_384, gt=0)
    # Semantic tokens, 50 a second, that a stream hands to the codec at a time.
    chunk_tokens: int = Field(25, gt=0)

    def sampling(self, task: Task) -> SamplingConfig:
        return getattr(self, task)


@dataclass(frozen=True)
class Prompt:
    """A request in ids, and the global tokens (32,) of the voice it is to be answered in."""

    task: Task
    ids: Ids
    voice: Tokens | None
    seed: int


@dataclass(frozen=True)
class LanguageModel:
    """A model with its vocabulary and the settings that its answers are drawn by."""

    engine: Engine
    vocabulary: Vocabulary
    config: GenerationConfig

    @classmethod
    def load(cls, checkpoint: Path, config: GenerationConfig, device: str = "cpu") -> LanguageModel:
        """Load a checkpoint that training wrote, or the released one; raises UserError.

        A run's folder stands for its last checkpoint.
        """
        checkpoint = [checkpoint, *checkpoints(checkpoint)][-1]
        size = size_of(checkpoint)
        engine: Engine
        if config.engine == "vllm":
            if base_of(checkpoint):
                raise UserError(f"vLLM needs whole weights; merge {checkpoint} with `gpa merge`.")
            engine = VLLMEngine(checkpoint, model_config(size).max_position_embeddings)
        else:
            dtype = getattr(torch, config.dtype)
            model = load_model(size, checkpoint, dtype, attn_implementation="sdpa")
            model.to(device)  # type: ignore[arg-type]  # transformers wraps it and hides `self`
            engine = TransformersEngine(model)
        return cls(engine, Vocabulary.beside(checkpoint), config)

    def check(self, prompt: Prompt) -> None:
        """Raises UserError for a prompt that leaves no room for an answer."""
        context = self.engine.context
        if len(prompt.ids) >= context:
            raise UserError(
                f"The prompt takes {len(prompt.ids):,} tokens, and the model's context of "
                f"{context:,} leaves no room for an answer; make text or audio shorter."
            )

    def decode(self, prompts: Sequence[Prompt]) -> abc.Generator[Token, None, None]:
        """Tokens of prompts of one task, all at once; closing it frees what is held for them."""
        task = prompts[0].task
        return self.engine.decode(
            [prompt.ids for prompt in prompts],
            Legal.of(task, self.vocabulary.structure),
            self.config.sampling(task),
            [(self.config.seed, prompt.seed) for prompt in prompts],
        )

    def answers(self, prompts: Sequence[Prompt]) -> Iterator[tuple[list[int], list[list[Token]]]]:
        """Whole answers, a batch at a time: the numbers of its prompts, and the tokens of each.

        A batch holds prompts of one task and of similar length; an answer is the one that the
        prompt has alone.
        """
        for task in TASKS:
            longest = self.config.sampling(task).max_new_tokens
            chosen = [number for number, prompt in enumerate(prompts) if prompt.task == task]
            lengths = [len(prompts[number].ids) + longest for number in chosen]
            for batch in batches_by_length(lengths, self.config.batch_tokens):
                numbers = [chosen[position] for position in batch]
                tokens: list[list[Token]] = [[] for _ in numbers]
                for token in self.decode([prompts[number] for number in numbers]):
                    tokens[token.row].append(token)
                yield numbers, tokens

    def write(self, prompts: Sequence[Prompt]) -> list[str]:
        """What recognition writes to each of its prompts, in order; raises UserError."""
        for prompt in prompts:
            self.check(prompt)
        texts: dict[int, str] = {}
        for numbers, answered in self.answers(prompts):
            texts |= zip(numbers, map(self.text, answered), strict=True)
        return [texts[number] for number in range(len(prompts))]

    def text(self, tokens: Sequence[Token]) -> str:
        """The text of a whole answer of recognition."""
        return "".join(self.vocabulary.decode_pieces(codes(tokens)))


def codes(tokens: abc.Iterable[Token]) -> Iterator[int]:
    """The codes of one row's tokens, without its end."""
    return (token.code for token in tokens if token.code is not None)
