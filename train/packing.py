"""Sequences of many lengths in rows of one length, none cut and none seeing another.

Positions start at 0 in every sequence. From that transformers builds a block-diagonal mask for
SDPA; attention by sequence (attention.py) and FlashAttention take the boundaries themselves.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gpa.tokenize.sequences import IGNORED, TaskSequence
from gpa.tokenize.vocabulary import PAD

Row = dict[str, NDArray[np.int64]]


def pack(lengths: ArrayLike, row_tokens: int) -> list[list[int]]:
    """Which sequences share a row: best fit, longest first.

    Returns one list of indices a row; every index comes once. Raises ValueError for a sequence
    longer than the row.
    """
    lengths = np.asarray(lengths, np.int64)
    if lengths.size and lengths.max() > row_tokens:
        raise ValueError(f"a sequence of {lengths.max()} tokens does not fit {row_tokens}")
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free tokens, row), sorted
    for index in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[index])
        at = bisect_left(room, (length, -1))
        if at == len(room):
            free, row = row_tokens, len(rows)
            rows.append([])
        else:
            free, row = room.pop(at)
        rows[row].append(index)
        if free > length:
            insort(room, (free - length, row))
    return rows


def fill_row(sequences: Sequence[TaskSequence], row_tokens: int, supervise_all: bool) -> Row:
    """One row: `input_ids`, `position_ids` and `labels`, each of shape (row_tokens,).

    With `supervise_all` every token of a sequence but its first is a label, else its answer. The
    rest of the row is padding, a sequence of its own that nothing supervises.
    """
    ids = np.full(row_tokens, PAD, np.int64)
    positions = np.zeros(row_tokens, np.int64)
    labels = np.full(row_tokens, IGNORED, np.int64)
    end = 0
    for sequence in sequences:
        start, end = end, end + len(sequence.ids)
        ids[start:end] = sequence.ids
        positions[start:end] = np.arange(end - start)
        # No token predicts the first of a sequence: what stands before it is another one.
        first = 1 if supervise_all else sequence.answer_start
        labels[start + first : end] = sequence.ids[first:]
    positions[end:] = np.arange(row_tokens - end)
    return {"input_ids": ids, "position_ids": positions, "labels": labels}


def collate(rows: Sequence[Row]) -> dict[str, Tensor | int]:
    """Rows as a batch, shape (rows, row_tokens), and the boundaries of their sequences.

    `cu_seq_lens_*` counts through all rows; the names are those of FlashAttention's kernels.
    """
    batch = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
    starts = (batch["position_ids"].flatten() == 0).nonzero().flatten()
    end = torch.tensor([batch["position_ids"].numel()])
    boundaries = torch.cat([starts, end]).to(torch.int32)
    longest = int(boundaries.diff().max())
    return {
        **batch,
        "cu_seq_lens_q": boundaries,
        "cu_seq_lens_k": boundaries,
        "max_length_q": longest,
        "max_length_k": longest,
    }
