"""Whose voice it is: the confidence that a stretch of speech is its speaker's and nobody else's.

The confidence is a softmax over the cosines between the speech's embedding and the embeddings of
the recording's speakers, with one more candidate, a stranger, at the cosine where clips of the
same and of different people are equally likely. It is low for a wrong label, for a turn that
hides a change of speaker, and for cross-talk, whose embedding lies between the voices. So it
finds cross-talk that the segmentation model misses.

Two people whom the diarizer takes for one have one embedding, and no confidence tells them apart.
Where one follows the other after a pause, what is said before it and after it does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpa.curation.spans import Span, union

# Windows as short as an embedding can bear, since a foreign word is short too.
WINDOW_S = 1.6
HOP_S = 0.4
# Of clips of 1.6 s (GE2E at the level that its file says): see docs/segmentation.md.
_STRANGER_COSINE = 0.6
_TEMPERATURE = 0.05
# What is compared around a pause, and the cosine under which it is two people: of halves of clips
# 5 % lie there, of strangers 99 % (docs/segmentation.md).
_COMPARED_S = 4.0
_CHANGE_COSINE = 0.7


def speaker_confidence(
    embeddings: NDArray[np.float32], speakers: NDArray[np.float32], own: int
) -> NDArray[np.float64]:
    """Probability in [0, 1] that each clip is speaker `own`, shape (clips,).

    `embeddings` has shape (clips, dimensions) and `speakers` (speakers, dimensions), rows of unit
    length. A clip without an embedding (NaN) has confidence 0.
    """
    cosines = np.asarray(embeddings, np.float64) @ np.asarray(speakers, np.float64).T
    logits = np.column_stack([cosines, np.full(len(cosines), _STRANGER_COSINE)]) / _TEMPERATURE
    logits -= logits.max(axis=1, keepdims=True)
    odds = np.exp(logits)
    return np.nan_to_num(odds[:, own] / odds.sum(axis=1))


def windows(start: int, end: int, sample_rate: int) -> list[Span]:
    """Windows of 1.6 s every 0.4 s from `start`, none past `end`; none in shorter speech."""
    width, hop = round(WINDOW_S * sample_rate), round(HOP_S * sample_rate)
    return [(at, at + width) for at in range(start, end - width + 1, hop)]


def doubtful(
    found: list[Span], confidences: NDArray[np.float64], threshold: float, sample_rate: int
) -> list[Span]:
    """The middle halves of the windows under the threshold: where another voice is heard.

    Only the middle: a window is also under the threshold when a foreign voice fills a good part
    of one of its sides.
    """
    side = round(WINDOW_S / 4 * sample_rate)
    return union(
        (start + side, end - side)
        for (start, end), confidence in zip(found, confidences, strict=True)
        if confidence < threshold
    )


def around(pause: Span, start: int, end: int, sample_rate: int) -> tuple[Span, Span]:
    """What is compared on both sides of a pause in a stretch of speech."""
    longest = round(_COMPARED_S * sample_rate)
    return (max(start, pause[0] - longest), pause[0]), (pause[1], min(end, pause[1] + longest))


def changes(before: NDArray[np.float32], after: NDArray[np.float32]) -> bool:
    """Whether two embeddings of unit length are of two people; never where one is NaN."""
    return bool(before @ after < _CHANGE_COSINE)
