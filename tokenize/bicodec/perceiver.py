"""Perceiver resampler: any number of frames to a fixed number of latents (arXiv:2103.03206)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LAYERS = 2
HEADS = 8
HEAD_DIM = 64


class CrossAttention(nn.Module):
    """Latents attend to themselves and to the context."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(dim, HEADS * HEAD_DIM, bias=False)
        self.to_kv = nn.Linear(dim, 2 * HEADS * HEAD_DIM, bias=False)
        self.to_out = nn.Linear(HEADS * HEAD_DIM, dim, bias=False)

    def forward(self, latents: Tensor, context: Tensor) -> Tensor:
        """Latents (batch, tokens, dim), context (batch, frames, dim); latents' shape out."""
        queries = self.to_q(latents)
        keys, values = self.to_kv(torch.cat([latents, context], dim=1)).chunk(2, dim=2)
        queries, keys, values = (
            part.unflatten(2, (HEADS, HEAD_DIM)).transpose(1, 2) for part in (queries, keys, values)
        )
        attended = F.scaled_dot_product_attention(queries, keys, values)
        return self.to_out(attended.transpose(1, 2).flatten(2))


class GEGLU(nn.Module):
    """The first half of the channels, gated by the GELU of the second."""

    def forward(self, features: Tensor) -> Tensor:
        """Last axis is halved."""
        content, gate = features.chunk(2, dim=-1)
        return content * F.gelu(gate)


class RMSNorm(nn.Module):
    """x / ||x|| * sqrt(dim) * gamma."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(dim))

    def forward(self, features: Tensor) -> Tensor:
        """Last axis is normalised."""
        return F.normalize(features, dim=-1) * features.shape[-1] ** 0.5 * self.gamma


def _feed_forward(dim: int) -> nn.Sequential:
    # Two thirds of the usual fourfold width: the gate doubles the first layer.
    inner = int(dim * 4 * 2 / 3)
    return nn.Sequential(nn.Linear(dim, 2 * inner), GEGLU(), nn.Linear(inner, dim))


class PerceiverResampler(nn.Module):
    """Learned latents that read the context layer by layer."""

    def __init__(self, dim: int, context_dim: int, tokens: int) -> None:
        super().__init__()
        self.proj_context = nn.Linear(context_dim, dim)
        self.latents = nn.Parameter(torch.empty(tokens, dim))
        self.layers = nn.ModuleList(
            nn.ModuleList([CrossAttention(dim), _feed_forward(dim)]) for _ in range(LAYERS)
        )
        self.norm = RMSNorm(dim)

    def forward(self, context: Tensor) -> Tensor:
        """Context (batch, frames, context_dim) to (batch, tokens, dim)."""
        context = self.proj_context(context)
        latents = self.latents.expand(len(context), -1, -1)
        for layer in self.layers:
            attention, feed_forward = cast(nn.ModuleList, layer)
            latents = latents + attention(latents, context)
            latents = latents + feed_forward(latents)
        return self.norm(latents)
