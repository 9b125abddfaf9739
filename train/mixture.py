"""What training draws, in which order: from the index alone, so that a mixture is only a knob.

Every (task, language, source) is a stream: its sequences in a new random order on each pass. The
next sequence comes from the stream that is furthest behind its share of the tokens, so shares are
kept exactly, at any point of a run, and the n-th sequence is the same on any machine.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat

from gpa.runtime.config import Config
from gpa.runtime.errors import UserError
from gpa.tokenize.sequences import TASKS, Task, choose_references, sequence_lengths


class MixtureConfig(Config):
    """What a phase is trained on.

    `tasks` are shares of the tokens; a task that is not named is left out. `languages` and
    `sources` say how many times as often as it stands in the data something is drawn: 2 is twice
    as often, 0 never, and what is not named 1.
    """

    tasks: dict[Task, NonNegativeFloat] = Field(
        default={"asr": 1.0, "tts": 1.0, "vc": 1.0}, min_length=1
    )
    languages: dict[str, NonNegativeFloat] = {}
    sources: dict[str, NonNegativeFloat] = {}


class Draw(NamedTuple):
    """One sequence to compose; utterances are rows of the index."""

    task: Task
    source: int
    target: int
    reference: int
    length: int


@dataclass(frozen=True)
class Candidates:
    """All sequences of one task: rows of the index and lengths, shape (sequences,) each."""

    task: Task
    sources: NDArray[np.int64]
    targets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    too_long: int = 0

    def take(self, chosen: NDArray[np.int64]) -> Candidates:
        """These of them."""
        return Candidates(
            self.task, self.sources[chosen], self.targets[chosen], self.lengths[chosen]
        )


def held_back(speakers: Sequence[str], share: float) -> NDArray[np.bool_]:
    """Which utterances are never trained on: all of some speakers, shape (utterances,).

    At least one speaker where `share` is above 0. Speakers are chosen by a hash of their name, so
    that they stay on their side when data is added. Raises UserError where too few are left.
    """
    names = sorted(set(speakers), key=lambda name: hashlib.sha256(name.encode()).digest())
    count = int(np.ceil(share * len(names)))
    if count and count >= len(names):
        raise UserError(
            f"Of {len(names)} speaker(s) none would be left to train on; add data, or set "
            "train.held_back_share to 0 to train without evaluation."
        )
    chosen = set(names[:count])
    return np.array([name in chosen for name in speakers], bool)


def candidates(
    task: Task,
    index: pa.Table,
    rows: NDArray[np.int64],
    row_tokens: int,
    pairs: Sequence[tuple[int, int]] = (),
) -> Candidates:
    """All sequences that `task` makes of these rows of the index and that fit `row_tokens`.

    Conversion makes every utterance from itself, and `pairs` (source, target) besides.
    """
    text, glm, semantic = (
        index[name].to_numpy().astype(np.int64)
        for name in ("text_tokens", "glm_tokens", "semantic_tokens")
    )
    sources = targets = np.asarray(rows, np.int64)
    if task == "vc" and pairs:
        given = np.asarray(pairs, np.int64)
        sources, targets = (np.concatenate([rows, given[:, side]]) for side in (0, 1))
    spoken = semantic[sources] + semantic[targets] if task == "vc" else semantic[targets]
    lengths = sequence_lengths(task, text[targets], glm[targets], spoken)
    fits = lengths <= row_tokens
    return Candidates(
        task, sources[fits], targets[fits], lengths[fits], int(np.count_nonzero(~fits))
    )


@dataclass(frozen=True)
class Mixture:
    """The endless order of sequences of a phase; iterating again starts again.

    `index` is the token index, `rows` the rows of it to train on.
    """

    config: MixtureConfig
    index: pa.Table
    rows: NDArray[np.int64]
    row_tokens: int
    seed: int
    pairs: Sequence[tuple[int, int]] = ()
    _passes: dict[tuple[int, int], NDArray[np.int64]] = field(default_factory=dict, repr=False)

    @cached_property
    def tasks(self) -> dict[Task, Candidates]:
        """The sequences of each task that has a share; raises UserError where there are none."""
        found = {
            task: candidates(task, self.index, self.rows, self.row_tokens, self.pairs)
            for task in TASKS
            if self.config.tasks.get(task)
        }
        if not found:
            raise UserError("No task has a share in mixture.tasks; give one a share above 0.")
        return found

    @cached_property
    def streams(self) -> list[tuple[Candidates, float]]:
        """Each stream and its share of the tokens; shares add up to 1."""
        languages, sources = (
            np.asarray(self.index[name].to_pylist(), dtype=object)
            for name in ("language", "source")
        )
        _check_names("languages", self.config.languages, languages[self.rows])
        _check_names("sources", self.config.sources, sources[self.rows])
        total = sum(self.config.tasks.values())
        streams = []
        for task, found in self.tasks.items():
            groups: dict[tuple[str, str], list[int]] = {}
            for i, row in enumerate(found.targets.tolist()):
                groups.setdefault((languages[row], sources[row]), []).append(i)
            weighed = []
            for (language, source), chosen in sorted(groups.items()):
                stream = found.take(np.asarray(chosen))
                times = self.config.languages.get(language, 1.0)
                times *= self.config.sources.get(source, 1.0)
                if times:
                    weighed.append((stream, times * float(stream.lengths.sum())))
            tokens = sum(weight for _, weight in weighed)
            if not weighed:
                raise UserError(
                    f"No sequence of task {task} fits a row of {self.row_tokens} tokens and the "
                    f"mixture ({found.too_long} are too long); raise row_tokens or change the "
                    "mixture."
                )
            share = self.config.tasks[task] / total
            streams += [(stream, share * weight / tokens) for stream, weight in weighed]
        return streams

    def __iter__(self) -> Iterator[Draw]:
        behind = [(0.0, number) for number in range(len(self.streams))]
        draws = [self._stream(number) for number in range(len(self.streams))]
        while True:
            given, number = behind[0]
            draw = next(draws[number])
            heapq.heapreplace(behind, (given + draw.length / self.streams[number][1], number))
            yield draw

    def _stream(self, number: int) -> Iterator[Draw]:
        stream, _ = self.streams[number]
        turn = 0
        while True:
            order = np.random.default_rng([self.seed, number, turn]).permutation(
                len(stream.lengths)
            )
            references = self._references(stream.targets, [self.seed, number, turn, 1])
            for i in order.tolist():
                yield Draw(
                    stream.task,
                    int(stream.sources[i]),
                    int(stream.targets[i]),
                    int(references[i]),
                    int(stream.lengths[i]),
                )
            turn += 1

    def _references(self, targets: NDArray[np.int64], seed: list[int]) -> NDArray[np.int64]:
        """A row of the same speaker for each target row, from all rows trained on."""
        references, _ = choose_references(self._speakers, seed)
        return self.rows[references[self._place[targets]]]

    @cached_property
    def _speakers(self) -> NDArray[np.int64]:
        codes = self.index["speaker"].combine_chunks().dictionary_encode().indices.to_numpy()
        return codes[self.rows].astype(np.int64)

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        place = np.full(self.index.num_rows, -1, np.int64)
        place[self.rows] = np.arange(len(self.rows))
        return place

    @property
    def own_references(self) -> int:
        """Utterances whose speaker has no other: they are their own reference."""
        return int(choose_references(self._speakers, self.seed)[1].sum())


def _check_names(key: str, weights: dict[str, float], known: NDArray[np.object_]) -> None:
    """A misspelt language would silently keep its weight of 1."""
    names = sorted(set(known.tolist()))
    for name in weights:
        if name not in names:
            raise UserError(
                f"mixture.{key} names {name!r}, which the data does not have; it has "
                f"{', '.join(names)}."
            )
