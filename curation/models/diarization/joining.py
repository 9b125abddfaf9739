"""How the speakers of the windows of one recording are joined.

Clustering needs memory and time that grow with the square of the length, so a recording of hours
is diarized in windows (`models/windows.py`). Speakers of different windows are the same person
where their embeddings cluster; two speakers of one window never are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from gpa.curation.models.protocols import Turn
from gpa.curation.models.windows import Span
from gpa.curation.spans import union

# Distance between speakers of one window: no average over windows brings it under a threshold.
_NEVER_THE_SAME = 1e6


@dataclass(frozen=True)
class Window:
    """What was heard in one window, in seconds of the recording.

    `own` is the part of the recording that this window answers for: the windows' own parts meet
    in the middle of their overlaps. `embeddings` has shape (speakers, dimensions).
    """

    own: Span
    turns: tuple[Turn, ...]
    overlaps: tuple[Span, ...]
    embeddings: NDArray[np.float32]


def join_speakers(
    embeddings: Sequence[NDArray[np.float32]], threshold: float
) -> list[NDArray[np.intp]]:
    """One number a speaker of each window, equal where it is the same person.

    Average-linkage clustering of the windows' speaker embeddings by cosine distance, up to
    `threshold`; speakers of one window stay apart whatever their distance.
    """
    stacked = np.concatenate(embeddings)
    window = np.repeat(np.arange(len(embeddings)), [len(each) for each in embeddings])
    if len(stacked) < 2:
        labels = np.zeros(len(stacked), np.intp)
    else:
        first, second = np.triu_indices(len(stacked), 1)
        # A speaker without an embedding (all zeros) is as far from everyone as a stranger.
        distances = np.nan_to_num(pdist(stacked, "cosine"), nan=1.0)
        distances[window[first] == window[second]] = _NEVER_THE_SAME
        labels = fcluster(linkage(distances, "average"), threshold, "distance").astype(np.intp)
    return np.split(labels, np.cumsum([len(each) for each in embeddings])[:-1])


def join_windows(
    windows: Sequence[Window], threshold: float
) -> tuple[tuple[Turn, ...], tuple[Span, ...]]:
    """Turns and overlaps of the whole recording, speakers numbered as they first appear."""
    labels = join_speakers([window.embeddings for window in windows], threshold)
    turns = [
        Turn(*inside, speaker=int(speakers[turn.speaker]))
        for window, speakers in zip(windows, labels, strict=True)
        for turn in window.turns
        if (inside := _clip((turn.start_s, turn.end_s), window.own))
    ]
    overlaps = [
        inside
        for window in windows
        for overlap in window.overlaps
        if (inside := _clip(overlap, window.own))
    ]
    turns = sorted(turns, key=lambda turn: (turn.start_s, turn.end_s, turn.speaker))
    order = {speaker: n for n, speaker in enumerate(dict.fromkeys(t.speaker for t in turns))}
    renumbered = [Turn(turn.start_s, turn.end_s, order[turn.speaker]) for turn in turns]
    return tuple(_heal_seams(renumbered)), tuple(union(overlaps))


def _clip(span: Span, limits: Span) -> Span | None:
    start, end = max(span[0], limits[0]), min(span[1], limits[1])
    return (start, end) if start < end else None


def _heal_seams(turns: Sequence[Turn]) -> list[Turn]:
    """Join turns of one speaker that touch or overlap; both the input and the result are sorted."""
    healed: list[Turn] = []
    for speaker in sorted({turn.speaker for turn in turns}):
        own = [(turn.start_s, turn.end_s) for turn in turns if turn.speaker == speaker]
        healed.extend(Turn(start, end, speaker) for start, end in union(own))
    return sorted(healed, key=lambda turn: (turn.start_s, turn.end_s, turn.speaker))
