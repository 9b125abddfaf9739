"""Where the windows lie in which a recording is heard that is too long to be heard whole."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

# Start and end, in seconds of the recording.
Span = tuple[float, float]


def window_spans(duration_s: float, window_s: float, overlap_s: float) -> list[Span]:
    """Equal windows of at most `window_s` that overlap by `overlap_s` and cover the recording."""
    if duration_s <= window_s:
        return [(0.0, duration_s)]
    count = math.ceil((duration_s - overlap_s) / (window_s - overlap_s))
    step_s = (duration_s - overlap_s) / count
    return [(i * step_s, min(i * step_s + step_s + overlap_s, duration_s)) for i in range(count)]


def own_spans(windows: Sequence[Span]) -> list[Span]:
    """The part of the recording that each window answers for; together they tile it."""
    seams = [(left[1] + right[0]) / 2 for left, right in itertools.pairwise(windows)]
    edges = [windows[0][0], *seams, windows[-1][1]]
    return list(itertools.pairwise(edges))
