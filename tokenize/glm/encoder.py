"""Whisper's encoder with causal convolutions, block-causal attention, pooling and a codebook.

The GLM-4-Voice tokenizer (arXiv:2412.02612, section 3.1). Attributes have the published names.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpa.tokenize.glm.config import GLMConfig

# States compared with the codebook at once: bounds memory at 16,384 codes to 64 MB.
LOOKUP_STATES = 1024


class SelfAttention(nn.Module):
    """Multi-head attention, keys without bias."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, states: Tensor, visible: Tensor | None) -> Tensor:
        """States (batch, steps, dim), `visible` broadcastable to (batch, heads, steps, steps)."""
        queries, keys, values = (
            project(states).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=visible)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    """Attention and a two-layer perceptron, each after a norm and around a residual."""

    def __init__(self, config: GLMConfig) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config.d_model, config.encoder_attention_heads)
        self.self_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.fc1 = nn.Linear(config.d_model, config.encoder_ffn_dim)
        self.fc2 = nn.Linear(config.encoder_ffn_dim, config.d_model)
        self.final_layer_norm = nn.LayerNorm(config.d_model)

    def forward(self, states: Tensor, visible: Tensor | None) -> Tensor:
        """States (batch, steps, dim), same shape out."""
        states = states + self.self_attn(self.self_attn_layer_norm(states), visible)
        return states + self.fc2(F.gelu(self.fc1(self.final_layer_norm(states))))


class WhisperVQEncoder(nn.Module):
    """Log-mel spectrograms to tokens."""

    ema_count: Tensor
    ema_weight: Tensor

    def __init__(self, config: GLMConfig) -> None:
        super().__init__()
        dim = config.d_model
        self.block_size = config.quantize_causal_block_size
        self.pooling = config.pooling_kernel_size
        self.conv1 = nn.Conv1d(config.num_mel_bins, dim, 3)
        self.conv2 = nn.Conv1d(dim, dim, 3, stride=2)
        self.embed_positions = nn.Embedding(config.max_source_positions, dim)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.quantize_position))
        self.codebook = nn.Embedding(config.quantize_vocab_size, dim)
        # Positions of what a decoder is given after the lookup, and the codebook's training
        # statistics: published, not needed for tokens.
        self.embed_positions2 = nn.Embedding(config.max_source_positions // self.pooling, dim)
        self.register_buffer("ema_count", torch.empty(config.quantize_vocab_size))
        self.register_buffer("ema_weight", torch.empty(config.quantize_vocab_size, dim))

    def convolved(self, mel: Tensor) -> Tensor:
        """Log-mel (batch, mels, frames) to states with positions (batch, frames / 2, dim)."""
        hidden = F.gelu(self.conv1(F.pad(mel, (2, 0))))
        hidden = F.gelu(self.conv2(F.pad(hidden, (2, 0)))).transpose(1, 2)
        return hidden + self.embed_positions.weight[: hidden.shape[1]]

    def forward(self, mel: Tensor, steps: Sequence[int]) -> Tensor:
        """Log-mel (batch, mels, frames) to pooled states (batch, tokens, dim); `steps` as below."""
        states = self.states(mel, steps).transpose(1, 2)
        return F.avg_pool1d(states, self.pooling).transpose(1, 2)

    def states(self, mel: Tensor, steps: Sequence[int]) -> Tensor:
        """Log-mel (batch, mels, frames) to states (batch, frames / 2, dim), 20 ms each.

        `steps` counts, for each chunk, those that begin within its audio; nothing attends to the
        others. States beyond a chunk's own are undefined.
        """
        states = self.convolved(mel)
        visible = self.visible(steps, states.shape[1], mel.device)
        for layer in self.layers:
            states = layer(states, visible)
        return states

    def visible(self, steps: Sequence[int], longest: int, device: torch.device) -> Tensor | None:
        """Which step (row) sees which (column): the past and its own block of 4 s, no padding.

        Shape (batch or 1, 1, longest, longest), or None where every step sees every other.
        """
        padded = min(steps) < longest
        if longest <= self.block_size and not padded:
            return None
        step = torch.arange(longest, device=device)
        block = step // self.block_size
        visible = (block <= block[:, None])[None, None]
        if padded:
            ends = torch.tensor(steps, device=device)
            visible = visible & (step < ends[:, None])[:, None, None]
        return visible

    def distances(self, states: Tensor) -> Tensor:
        """Squared distances, but for what all codes share: states (n, dim) to (n, codes)."""
        codes = self.codebook.weight.float()
        return codes.square().sum(dim=1) - 2 * states.float() @ codes.T

    def quantize(self, states: Tensor) -> Tensor:
        """States (batch, tokens, dim) to tokens (batch, tokens); the lookup is float32."""
        flat = states.reshape(-1, states.shape[2])
        nearest = [self.distances(part).argmin(dim=1) for part in flat.split(LOOKUP_STATES)]
        return torch.cat(nearest).reshape(states.shape[:2])
