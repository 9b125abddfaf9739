"""Token shards as packed rows, composed as they are read.

Which sequences share a row is planned from the index, a window of sequences at a time, so row n is
the same whoever asks for it: resuming is nothing but going on at row n, and any number of
processes and workers see the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpa.tokenize.sequences import Task, TaskSequence, asr, choose_references, tts, vc
from gpa.tokenize.shards import TokenShards
from gpa.tokenize.vocabulary import StructureTokens
from gpa.train.mixture import Draw, Mixture, candidates
from gpa.train.packing import Row, fill_row, pack

# Sequences planned together: enough to fill rows to 99 %, and few enough to forget at once.
WINDOW = 2048


def compose(shards: TokenShards, structure: StructureTokens, draw: Draw) -> TaskSequence:
    """Read the tokens that a draw names, and make its sequence."""
    target = shards.tokens(draw.target)
    if draw.task == "asr":
        return asr(structure, target.glm_tokens, target.semantic_tokens, target.text_tokens)
    reference = shards.tokens(draw.reference).global_tokens
    if draw.task == "tts":
        return tts(structure, reference, target.text_tokens, target.semantic_tokens)
    source = target if draw.source == draw.target else shards.tokens(draw.source)
    return vc(structure, reference, source.semantic_tokens, target.semantic_tokens)


def plan_rows(draws: list[Draw], row_tokens: int, seed: list[int]) -> list[list[Draw]]:
    """Pack a window of draws into rows, in random order: packing alone puts long ones first."""
    rows = pack([draw.length for draw in draws], row_tokens)
    order = np.random.default_rng(seed).permutation(len(rows))
    return [[draws[i] for i in rows[number]] for number in order.tolist()]


class PackedRows(torch.utils.data.Dataset):
    """`count` rows of a mixture. Reading in order is fast; going back plans again."""

    def __init__(
        self,
        shards: TokenShards,
        structure: StructureTokens,
        mixture: Mixture,
        count: int,
        supervise_all: bool,
    ):
        self.shards, self.structure, self.mixture = shards, structure, mixture
        self.count, self.supervise_all = count, supervise_all
        self._first = 0
        self._rows: list[list[Draw]] = []
        self._windows = self._plan()

    def __len__(self) -> int:
        return self.count

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name[0] != "_"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._restart()

    def __getitem__(self, number: int) -> Row:
        sequences = [compose(self.shards, self.structure, draw) for draw in self.draws(number)]
        return fill_row(sequences, self.mixture.row_tokens, self.supervise_all)

    def draws(self, number: int) -> list[Draw]:
        """What row `number` holds."""
        if not 0 <= number < self.count:
            raise IndexError(number)
        if number < self._first:
            self._restart()
        while number >= self._first + len(self._rows):
            self._first += len(self._rows)
            self._rows = next(self._windows)
        return self._rows[number - self._first]

    def _restart(self) -> None:
        self._first, self._rows, self._windows = 0, [], self._plan()

    def _plan(self) -> Iterator[list[list[Draw]]]:
        draws, number = iter(self.mixture), 0
        while True:
            window = list(islice(draws, WINDOW))
            yield plan_rows(window, self.mixture.row_tokens, [self.mixture.seed, number])
            number += 1


class EvaluationRows(torch.utils.data.Dataset):
    """Every held-back utterance once, in one task, the answer alone supervised."""

    def __init__(
        self,
        task: Task,
        shards: TokenShards,
        structure: StructureTokens,
        rows: NDArray[np.int64],
        row_tokens: int,
        seed: int,
    ):
        self.shards, self.structure, self.row_tokens = shards, structure, row_tokens
        found = candidates(task, shards.index, rows, row_tokens)
        speakers = np.asarray(shards.index["speaker"].to_pylist(), dtype=str)[rows]
        reference_of = dict(
            zip(rows.tolist(), rows[choose_references(speakers, seed)[0]].tolist(), strict=True)
        )
        draws = [
            Draw(task, row, row, reference_of[row], length)
            for row, length in zip(found.targets.tolist(), found.lengths.tolist(), strict=True)
        ]
        self.rows = plan_rows(draws, row_tokens, [seed])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Row:
        sequences = [compose(self.shards, self.structure, draw) for draw in self.rows[number]]
        return fill_row(sequences, self.row_tokens, supervise_all=False)


@dataclass(frozen=True)
class Efficiency:
    """Tokens of sequences, and tokens computed for them."""

    useful: int
    computed: int

    @property
    def share(self) -> float:
        """Useful tokens a computed one."""
        return self.useful / self.computed


def packing_efficiency(rows: PackedRows) -> Efficiency:
    """Measured on the rows of the first window (or as many as there are), without reading any."""
    planned = [rows.draws(number) for number in range(min(len(rows), WINDOW))]
    useful = sum(draw.length for row in planned for draw in row)
    return Efficiency(useful, len(planned) * rows.mixture.row_tokens)
