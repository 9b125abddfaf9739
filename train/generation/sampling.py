"""How the next token is chosen: settings of a task, and the draw itself.

The scores pass transformers' own processors, in transformers' order. What is drawn depends on the
row's seed alone, so a request has the same answer in any batch and on any device, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from gpa.runtime.config import Config

# Choices are drawn a group of so many first, then one of it: sums over 151,643 tokens of text in
# double precision would cost more than the model.
GROUPED = 512

# What a row's random numbers come from.
Seed = int | Sequence[int]


class SamplingConfig(Config):
    """How one task's answers are drawn, and how long they may become."""

    # 0 takes the most probable token, and `top_k` and `top_p` change nothing.
    temperature: float = Field(0.0, ge=0)
    # Only the `top_k` most probable tokens are drawn from; 0 for all.
    top_k: int = Field(0, ge=0)
    # Only the most probable tokens that together have this probability are drawn from.
    top_p: float = Field(1.0, gt=0, le=1)
    # Scores of tokens that the ANSWER holds already are divided by it (arXiv:1909.05858, 4.1).
    repetition_penalty: float = Field(1.0, gt=0)
    max_new_tokens: int = Field(gt=0)


class Sampler:
    """Chooses the next token of each row; `seeds` has one seed a row."""

    def __init__(self, config: SamplingConfig, seeds: Sequence[Seed]) -> None:
        self._greedy = config.temperature == 0
        self._draws = [np.random.default_rng(seed) for seed in seeds]
        self._processors = LogitsProcessorList()
        if config.repetition_penalty != 1:
            self._processors.append(RepetitionPenaltyLogitsProcessor(config.repetition_penalty))
        if not self._greedy:
            if config.temperature != 1:
                self._processors.append(TemperatureLogitsWarper(config.temperature))
            if config.top_k:
                self._processors.append(TopKLogitsWarper(config.top_k))
            if config.top_p < 1:
                self._processors.append(TopPLogitsWarper(config.top_p))

    def choose(self, scores: Tensor, answered: Tensor, rows: Sequence[int]) -> Tensor:
        """The next choice of each row, shape (rows,).

        `scores` (rows, choices) are the model's; `answered` (rows, steps) holds the choices made
        so far and nothing of the prompt; `rows` says whose random numbers each row draws.
        """
        scores = self._processors(cast(torch.LongTensor, answered), scores.float())
        if self._greedy:
            return scores.argmax(dim=-1)
        shares = scores.softmax(dim=-1)
        groups = pad(shares, (0, -shares.shape[-1] % GROUPED)).unflatten(-1, (-1, GROUPED))
        uniform = torch.tensor(np.array([self._draws[row].random(2) for row in rows]))
        first, second = uniform.to(scores.device).unbind(dim=1)
        group = _drawn(groups.sum(dim=-1).double(), first)
        return group * GROUPED + _drawn(groups[range(len(rows)), group].double(), second)


def _drawn(weights: Tensor, uniform: Tensor) -> Tensor:
    """An index of each row, as probable as its weight; `weights` (rows, choices) are doubles.

    `uniform` (rows,) in [0, 1) is stretched to the last sum, so that nothing of weight 0 is met.
    """
    cumulative = weights.cumsum(dim=-1)
    return torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)[:, 0]
