"""Semantic tokens: nearest code in eight dimensions (factorized, L2-normalised codebook)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpa.tokenize.bicodec.config import QuantizerConfig
from gpa.tokenize.bicodec.weight_norm import WeightNormConv1d

# Frames compared with the codebook at once: bounds memory at 8192 codes to 64 MB.
LOOKUP_FRAMES = 2048


class SemanticQuantizer(nn.Module):
    """Project to the codebook's space, look up, project back."""

    cluster_size: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.in_project = WeightNormConv1d(config.input_dim, config.codebook_dim, kernel=1)
        self.out_project = WeightNormConv1d(config.codebook_dim, config.input_dim, kernel=1)
        self.codebook = nn.Embedding(config.codebook_size, config.codebook_dim)
        # Training's count of how often each code was used; published, not needed here.
        self.register_buffer("cluster_size", torch.empty(config.codebook_size))

    def similarities(self, latents: Tensor) -> Tensor:
        """Cosine of projected latents (frames, codebook_dim) and codes: (frames, codes)."""
        return F.normalize(latents.float()) @ F.normalize(self.codebook.weight.float()).T

    def encode(self, latents: Tensor) -> Tensor:
        """Latents (batch, input_dim, frames) to tokens (batch, frames); the lookup is float32."""
        projected = self.in_project(latents).transpose(1, 2)
        flat = projected.reshape(-1, projected.shape[2])
        nearest = [self.similarities(part).argmax(dim=1) for part in flat.split(LOOKUP_FRAMES)]
        return torch.cat(nearest).reshape(projected.shape[:2])

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens (batch, frames) to quantized latents (batch, input_dim, frames)."""
        return self.out_project(self.codebook(tokens).transpose(1, 2))
