"""Token shards as packed rows, composed as they are read.

Which sequences share a row is planned a window of sequences at a time, so row n is the same
whoever asks for it, and any number of processes and workers see the same rows. A checkpoint names
the place of the window that a run stands in: going on plans that window and nothing before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from gpa.tokenize.sequences import Composition, TaskSequence, asr, tts, tts_continued, vc
from gpa.tokenize.shards import TokenShards
from gpa.tokenize.vocabulary import StructureTokens
from gpa.train.catalogue import Catalogue, Numbers
from gpa.train.mixture import BEGINNING, Draw, Mixture, Place, plan_rows
from gpa.train.packing import Row, fill_row

# Held-back utterances that a loss is measured on; more would only cost time.
EVALUATED = 10_000


def compose(shards: TokenShards, structure: StructureTokens, draw: Draw) -> TaskSequence:
    """Read the tokens that a draw names, and make its sequence."""
    target = shards.tokens(draw.target)
    if draw.task == "asr":
        return asr(structure, target.glm_tokens, target.semantic_tokens, target.text_tokens)
    reference = shards.tokens(draw.reference)
    voice = reference.global_tokens
    if draw.task == "tts":
        return tts(structure, voice, target.text_tokens, target.semantic_tokens)
    if draw.task == "tts_continued":
        before = reference.text_tokens, reference.semantic_tokens
        return tts_continued(structure, voice, *before, target.text_tokens, target.semantic_tokens)
    source = target if draw.source == draw.target else shards.tokens(draw.source)
    return vc(structure, voice, source.semantic_tokens, target.semantic_tokens)


class PackedRows(torch.utils.data.Dataset):
    """The `count` rows of a run over a mixture.

    A run that goes on takes them from row `first` on, and plans them from `start` on, which lies
    before. Reading in order is fast; going back plans again from `start`.
    """

    _place: Place
    _rows: list[list[Draw]]
    _windows: Iterator[tuple[Place, list[list[Draw]]]]

    def __init__(
        self,
        shards: TokenShards,
        structure: StructureTokens,
        mixture: Mixture,
        count: int,
        supervise_all: bool,
        start: Place = BEGINNING,
        first: int = 0,
    ):
        self.shards, self.structure, self.mixture = shards, structure, mixture
        self.count, self.supervise_all = count, supervise_all
        self.start, self.first = start, first
        self._restart()

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
        if not self.start.row <= number < self.count:
            raise IndexError(number)
        return self._window(number)[1][number - self._place.row]

    def place(self, number: int) -> Place:
        """The place of the window that row `number` is in, to start from."""
        return self._window(number)[0]

    def _window(self, number: int) -> tuple[Place, list[list[Draw]]]:
        if number < self._place.row:
            self._restart()
        while number >= self._place.row + len(self._rows):
            self._place, self._rows = next(self._windows)
        return self._place, self._rows

    def _restart(self) -> None:
        self._place, self._rows = self.start, []
        self._windows = self.mixture.rows(self.start)


class EvaluationRows(torch.utils.data.Dataset):
    """Each of these utterances once, in one composition, the answer alone supervised.

    `positions` are theirs in the catalogue.
    """

    def __init__(
        self,
        task: Composition,
        shards: TokenShards,
        structure: StructureTokens,
        catalogue: Catalogue,
        positions: Numbers,
        row_tokens: int,
        seed: int,
    ):
        self.shards, self.structure, self.row_tokens = shards, structure, row_tokens
        references = catalogue.references(positions, [seed])
        lengths = catalogue.sequence_lengths(task, positions, positions, references)
        numbers = catalogue.rows[positions], catalogue.rows[references], lengths
        draws = [
            Draw(task, target, target, reference, length)
            for target, reference, length in zip(*(each.tolist() for each in numbers), strict=True)
            if length <= row_tokens
        ]
        self.rows = plan_rows(draws, row_tokens, [seed])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Row:
        sequences = [compose(self.shards, self.structure, draw) for draw in self.rows[number]]
        return fill_row(sequences, self.row_tokens, supervise_all=False)


def evaluated(catalogue: Catalogue) -> Numbers:
    """The held-back utterances to evaluate on: all, or EVALUATED of them spread over all."""
    count = min(EVALUATED, catalogue.held_back)
    return np.linspace(0, catalogue.held_back, count, endpoint=False).astype(np.int64)


def packing_efficiency(rows: PackedRows) -> float:
    """Useful tokens a computed one, measured on the first window, without reading any."""
    _, planned = next(rows.mixture.rows(rows.start))
    useful = sum(draw.length for row in planned for draw in row)
    return useful / (len(planned) * rows.mixture.row_tokens)
