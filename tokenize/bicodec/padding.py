"""Zeros where a batch is padded, so that a convolution sees what it sees at the end of a clip.

Throughout the codec `valid` is a mask of shape (batch, time), True where a clip has content, or
None where all clips of the batch are equally long.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def valid_mask(lengths: Sequence[int], device: torch.device) -> Tensor | None:
    """Mask (batch, longest) of clips of these lengths; None where no clip is padded."""
    if min(lengths) == max(lengths):
        return None
    ends = torch.tensor(lengths, device=device)
    return torch.arange(max(lengths), device=device) < ends[:, None]


def silence_padding(features: Tensor, valid: Tensor | None) -> Tensor:
    """Zero what lies beyond the end of each clip in features of shape (batch, channels, time)."""
    return features if valid is None else features * valid[:, None]
