"""The codebook while it is trained: codes are moving means of what is looked up by them.

The gradient never reaches the codes (van den Oord et al., arXiv:1711.00937, appendix A.1). Cosines
decide which code is nearest, as in inference; the state is that of the published checkpoint, the
codes and `cluster_size`, the moving mean of how many frames of a batch each code takes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gpa.tokenize.bicodec.quantizer import LOOKUP_FRAMES, SemanticQuantizer

DECAY = 0.99
# A code is dead with less than this share of what it had if all were in use alike.
DEAD_SHARE = 0.1
KMEANS_ROUNDS = 3


class Codebook:
    """Looks up and learns; random choices are torch's, so that its seed and state pin them."""

    def __init__(self, quantizer: SemanticQuantizer) -> None:
        self.quantizer = quantizer

    def look_up(self, projected: Tensor) -> Tensor:
        """Codes of projected latents, both (batch, codebook_dim, frames); moves codes in training."""
        flat = projected.detach().transpose(1, 2).flatten(0, 1)
        tokens = self._nearest(flat)
        codes = self.quantizer.codebook.weight.detach()[tokens]
        if self.quantizer.training:
            self._move(flat, tokens)
        return codes.unflatten(0, (projected.shape[0], projected.shape[2])).transpose(1, 2)

    @torch.no_grad()
    def start(self, projected: Tensor) -> None:
        """Begin with k-means of latents (frames, codebook_dim), rounds of it from a random draw."""
        kmeans(self.quantizer.codebook.weight, projected, lambda: self._nearest(projected))
        self.quantizer.cluster_size.zero_()

    @torch.no_grad()
    def _move(self, flat: Tensor, tokens: Tensor) -> None:
        codes, sizes = self.quantizer.codebook.weight, self.quantizer.cluster_size
        mean_size = len(flat) / len(codes)
        if not sizes.any():
            sizes.fill_(mean_size)
        sums, counts = _sums(flat, tokens, len(codes))
        sizes.lerp_(counts, 1 - DECAY)
        codes.add_((1 - DECAY) * (sums - counts[:, None] * codes) / sizes.clamp(min=1e-6)[:, None])
        dead = torch.nonzero(sizes < DEAD_SHARE * mean_size)[:, 0][: len(flat)]
        if len(dead):
            codes[dead] = _draw(flat, len(dead))
            sizes[dead] = mean_size

    def _nearest(self, flat: Tensor) -> Tensor:
        parts = [self.quantizer.similarities(part).argmax(1) for part in flat.split(LOOKUP_FRAMES)]
        return torch.cat(parts)


@torch.no_grad()
def kmeans(codes: Tensor, frames: Tensor, nearest: Callable[[], Tensor]) -> None:
    """Make codes (codes, dim) centres of frames, by rounds of `nearest`, which looks frames up."""
    codes.copy_(_draw(frames, len(codes)))
    for _ in range(KMEANS_ROUNDS):
        sums, counts = _sums(frames, nearest(), len(codes))
        codes.copy_(torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], codes))


def _draw(frames: Tensor, count: int) -> Tensor:
    """Random frames (count, dim), as different ones as there are."""
    order = torch.randperm(len(frames), device=frames.device)
    return frames[order[torch.arange(count, device=frames.device) % len(frames)]]


def _sums(frames: Tensor, tokens: Tensor, codes: int) -> tuple[Tensor, Tensor]:
    """Of each code: the sum of its frames (codes, dim), and how many they are (codes,)."""
    sums = frames.new_zeros(codes, frames.shape[1]).index_add_(0, tokens, frames)
    return sums, torch.bincount(tokens, minlength=codes).to(frames.dtype)
