"""Next-token loss over packed rows, without ever holding the logits of a whole row.

A row of 4,096 tokens has 3 GB of float32 logits over 180,445 ids, most of them where nothing is
supervised. Only supervised positions meet the output layer, in chunks.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn import LinearCrossEntropyOptions
from torch.nn.functional import linear_cross_entropy
from transformers import Qwen3ForCausalLM
from transformers.modeling_outputs import CausalLMOutputWithPast

from gpa.tokenize.sequences import IGNORED

# 512 positions are 370 MB of float32 logits: on two cores as fast as all at once or faster.
CHUNK_TOKENS = 512
_CHUNKS = LinearCrossEntropyOptions(batch_chunk_size=CHUNK_TOKENS, chunking_method=None)


def with_packed_loss(model: Qwen3ForCausalLM) -> Qwen3ForCausalLM:
    """Make `model(labels=...)` compute the loss below; it stays a plain Qwen3ForCausalLM."""
    model.forward = MethodType(_forward, model)
    return model


def _forward(
    self: Qwen3ForCausalLM,
    input_ids: Tensor,
    labels: Tensor | None = None,
    num_items_in_batch: Tensor | int | None = None,
    **inputs: Any,
) -> CausalLMOutputWithPast:
    """Mean loss of the supervised tokens; 0 where a batch has none.

    `num_items_in_batch` is what the Trainer divides by when a step has several batches. Without
    labels this is the model's own forward.
    """
    if labels is None:
        return type(self).forward(self, input_ids=input_ids, **inputs)
    hidden = self.model(input_ids=input_ids, use_cache=False, **inputs).last_hidden_state
    total, count = summed_loss(hidden, self.lm_head.weight, labels)
    items = count if num_items_in_batch is None else num_items_in_batch
    return CausalLMOutputWithPast(loss=total / torch.as_tensor(items).clamp(min=1))


def summed_loss(hidden: Tensor, head: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the losses of all supervised tokens, and their number.

    `hidden` has shape (rows, tokens, width), `head` (vocabulary, width), `labels` (rows, tokens);
    the state at t predicts the label at t + 1.
    """
    targets = labels[:, 1:]
    supervised = targets != IGNORED
    states, targets = hidden[:, :-1][supervised], targets[supervised]
    if torch.is_autocast_enabled(states.device.type):
        dtype = torch.get_autocast_dtype(states.device.type)
        states, head = states.to(dtype), head.to(dtype)
    if not len(targets):
        # Nothing to learn, but every parameter keeps a gradient, as distributed training needs.
        return states.sum() + 0.0 * head[0].sum(), supervised.sum()
    total = linear_cross_entropy(states, head, targets, reduction="sum", options=_CHUNKS)
    return total, supervised.sum()
