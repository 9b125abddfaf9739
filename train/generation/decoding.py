"""The one autoregressive loop: prompts in, tokens of their answers out, step by step.

It runs on transformers' model, KV cache and logits processors. `model.generate` hands tokens out
through a callback only and draws all rows from one global seed; a generator can be read at any
pace, closed at any moment, and gives a row the same answer in every batch.

An answer can't hold an illegal token: scores are computed for the legal ones alone.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache, Qwen3ForCausalLM

from gpa.tokenize.sequences import Task
from gpa.tokenize.vocabulary import PAD, SEMANTIC, TEXT, Block, Ids, StructureTokens
from gpa.train.generation.sampling import Sampler, SamplingConfig, Seed

# Why an answer stopped: its end token, `max_new_tokens`, or the model's context is full.
Stopped = Literal["end", "length", "context"]


@dataclass(frozen=True)
class Legal:
    """What an answer may hold: the codes of one block, and ids that end it.

    A choice is a code of the block, or the block's size plus a position in `ends`.
    """

    block: Block
    ends: tuple[int, ...]

    @classmethod
    def of(cls, task: Task, structure: StructureTokens) -> Legal:
        """Text for recognition, semantic codes for synthesis and conversion."""
        if task == "asr":
            return cls(TEXT, (structure.end_content, structure.im_end))
        return cls(SEMANTIC, (structure.im_end,))

    def scores(self, states: Tensor, head: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of the codes (rows, codes) and of the ends (rows, ends) from states (rows, width).

        `head` (vocabulary, width) is the model's output layer.
        """
        first = self.block.offset
        return states @ head[first : first + self.block.size].T, states @ head[list(self.ends)].T

    def ends_with(self, choice: int) -> bool:
        """Whether a choice is the end of its answer."""
        return choice >= self.block.size


@dataclass(frozen=True)
class Token:
    """One step of one row: a code of the legal block, or None where the answer ended before it."""

    row: int
    code: int | None
    stopped: Stopped | None  # set on a row's last token


class Engine(Protocol):
    """Whatever runs the model: transformers here, vLLM in vllm.py."""

    # Tokens that a prompt and its answer may have together.
    context: int

    def decode(
        self, prompts: Sequence[Ids], legal: Legal, config: SamplingConfig, seeds: Sequence[Seed]
    ) -> Generator[Token, None, None]:
        """Answer prompts of any lengths, each shorter than the context; one seed a prompt.

        Closing the iterator frees whatever is held for rows that have not stopped.
        """
        ...


def most_tokens(prompt: Ids, context: int, config: SamplingConfig) -> tuple[int, Stopped]:
    """How many tokens the answer to a prompt may have, and what has run out then."""
    room = context - len(prompt)
    return (room, "context") if room < config.max_new_tokens else (config.max_new_tokens, "length")


class TransformersEngine:
    """A batch shares one cache; rows that have stopped leave it."""

    def __init__(self, model: Qwen3ForCausalLM) -> None:
        self._model = model.eval()
        self.context: int = model.config.max_position_embeddings

    def decode(
        self, prompts: Sequence[Ids], legal: Legal, config: SamplingConfig, seeds: Sequence[Seed]
    ) -> Generator[Token, None, None]:
        device = self._model.device
        limits = [most_tokens(prompt, self.context, config) for prompt in prompts]
        head = self._model.get_output_embeddings().weight
        sampler = Sampler(config, seeds)
        cache = DynamicCache(config=self._model.config)
        rows = list(range(len(prompts)))
        inputs, mask = _padded(prompts, device)
        answered = torch.empty(len(rows), 0, dtype=torch.long, device=device)
        while rows:
            with torch.inference_mode():
                scores = torch.cat(legal.scores(self._states(inputs, mask, cache), head), dim=1)
                choices = sampler.choose(scores, answered, rows)
                answered = torch.cat([answered, choices[:, None]], dim=1)
            going_on = []
            for position, (row, choice) in enumerate(zip(rows, choices.tolist(), strict=True)):
                most, run_out = limits[row]
                if legal.ends_with(choice):
                    yield Token(row, None, "end")
                elif answered.shape[1] == most:
                    yield Token(row, choice, run_out)
                else:
                    yield Token(row, choice, None)
                    going_on.append(position)
            if len(going_on) < len(rows):
                keep = torch.tensor(going_on, dtype=torch.long, device=device)
                cache.batch_select_indices(keep)
                answered, mask, choices = answered[keep], mask[keep], choices[keep]
                rows = [rows[position] for position in going_on]
            inputs = choices[:, None] + legal.block.offset
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)

    def _states(self, inputs: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        """The last states (rows, width), the cache taking up `inputs` (rows, tokens)."""
        # Positions count from a row's own first token, not from its padding.
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -inputs.shape[1] :]
        output = self._model.model(
            input_ids=inputs,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        return output.last_hidden_state[:, -1]


def _padded(prompts: Sequence[Ids], device: torch.device) -> tuple[Tensor, Tensor]:
    """Prompts (rows, longest) with padding on the left, and a mask that is 0 there."""
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), longest), PAD)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.from_numpy(prompt).long()
        mask[row, longest - len(prompt) :] = 1
    return ids.to(device), mask.to(device)
