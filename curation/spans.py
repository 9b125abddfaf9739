"""Arithmetic on spans of a recording, and groups of about one size.

Spans are in whole samples, so that what is kept and what is dropped tile a recording exactly:
one is `(start, end)` with `start < end`, the end not included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int]
Number = TypeVar("Number", int, float)
Item = TypeVar("Item")


def runs(mask: NDArray[np.bool_]) -> list[Span]:
    """Where `mask`, shape (n,), is true, as sorted, disjoint spans."""
    edges = np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8))
    return list(
        zip(np.flatnonzero(edges > 0).tolist(), np.flatnonzero(edges < 0).tolist(), strict=True)
    )


def union(spans: Iterable[tuple[Number, Number]]) -> list[tuple[Number, Number]]:
    """Sorted, disjoint spans that cover the same samples; spans that touch become one.

    Of spans in seconds those that touch to the last digit.
    """
    fused: list[tuple[Number, Number]] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if fused and start <= fused[-1][1]:
            fused[-1] = (fused[-1][0], max(end, fused[-1][1]))
        else:
            fused.append((start, end))
    return fused


def subtract(spans: Iterable[Span], holes: Iterable[Span]) -> list[Span]:
    """What is left of `spans` outside `holes`, sorted and disjoint."""
    holes = union(holes)
    left: list[Span] = []
    first = 0
    for start, end in union(spans):
        while first < len(holes) and holes[first][1] <= start:
            first += 1
        for hole_start, hole_end in holes[first:]:
            if hole_start >= end:
                break
            if hole_start > start:
                left.append((start, hole_start))
            start = max(start, hole_end)
        if start < end:
            left.append((start, end))
    return left


def intersect(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """What `spans` and `others` have in common, sorted and disjoint."""
    spans = union(spans)
    return subtract(spans, subtract(spans, others))


def widen(spans: Iterable[Span], by: int, samples: int) -> list[Span]:
    """Spans with a collar of `by` samples on both sides, inside a recording of `samples`."""
    return union((max(0, start - by), min(samples, end + by)) for start, end in spans)


def filled(
    items: Iterable[Item], size: Callable[[Item], float], target: float
) -> Iterator[list[Item]]:
    """Items in their order, in groups that each end with the one by which it holds `target`."""
    group: list[Item] = []
    room = target
    for item in items:
        group.append(item)
        room -= size(item)
        if room <= 0:
            yield group
            group, room = [], target
    if group:
        yield group
