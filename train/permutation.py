"""Random orders that are computed and not stored: the same on any machine, from any place on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDS = 6


def random_bits(values: ArrayLike, key: Sequence[int]) -> NDArray[np.uint64]:
    """64 random bits for each value under a key, the same each time (the mixer of SplitMix64)."""
    mixed = np.asarray(values).astype(np.uint64)
    for part in key:
        salt = (0x9E3779B97F4A7C15 * (part + 1)) % 2**64
        mixed = mixed + np.uint64(salt)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return mixed


def permuted(places: ArrayLike, size: int, key: Sequence[int]) -> NDArray[np.int64]:
    """Which of `size` things stand at these places of the random order that `key` names.

    A Feistel network over the next power of two; what falls outside is sent through it again until
    it falls inside, so that every thing has one place.
    """
    bits = max(2, (size - 1).bit_length())
    widths = (bits - bits // 2, bits // 2)
    low_bits, low_mask = np.uint64(widths[1]), np.uint64(2 ** widths[1] - 1)

    def network(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        high, low = values >> low_bits, values & low_mask
        for turn in range(ROUNDS):
            # High and low change places, and so do their widths.
            mask = np.uint64(2 ** widths[turn % 2] - 1)
            high, low = low, (high ^ random_bits(low, [*key, turn])) & mask
        return (high << low_bits) | low

    found = network(np.asarray(places).astype(np.uint64))
    while (outside := found >= size).any():
        found[outside] = network(found[outside])
    return found.astype(np.int64)
