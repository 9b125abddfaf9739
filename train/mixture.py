"""What training draws, in which order: computed, so that a mixture is only a knob and no list.

Every (task, language, source) is a stream: its sequences in a new random order on each pass. The
next sequence comes from the stream that is furthest behind its share of the tokens, so shares are
kept exactly, at any point of a run, and the n-th sequence is the same on any machine. How far each
stream is, is all that a run must know to go on.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat

from gpa.runtime.config import Config
from gpa.runtime.errors import UserError
from gpa.tokenize.sequences import COMPOSITIONS, Composition
from gpa.train.catalogue import Catalogue, Numbers
from gpa.train.packing import pack
from gpa.train.permutation import permuted

# Sequences planned together: enough to fill rows to 99 %, and few enough to forget at once.
WINDOW = 2048
# Sequences of a stream whose order is computed at once, and utterances that are added up at once.
DRAWN_AT_ONCE = 256
ADDED_AT_ONCE = 2**20


class MixtureConfig(Config):
    """What a phase is trained on.

    `tasks` are shares of the tokens; a task that is not named is left out. `languages` and
    `sources` say how many times as often as it stands in the data something is drawn: 2 is twice
    as often, 0 never, and what is not named 1. An utterance is converted into
    itself in its speaker's own voice, or with `vc_voice` in that of any, where semantic tokens carry
    no voice.
    """

    tasks: dict[Composition, NonNegativeFloat] = Field(
        default={"asr": 1.0, "tts": 1.0, "vc": 1.0}, min_length=1
    )
    languages: dict[str, NonNegativeFloat] = {}
    sources: dict[str, NonNegativeFloat] = {}
    vc_voice: Literal["any"] | None = None


class Draw(NamedTuple):
    """One sequence to compose; utterances are numbers in the token shards."""

    task: Composition
    source: int
    target: int
    reference: int
    length: int


class Place(NamedTuple):
    """Where a run stands: at the start of a window.

    `row` is the number of its first row; of each stream, `given` are the tokens drawn by its
    share, and `drawn` the sequences. A new run has none of them.
    """

    row: int = 0
    window: int = 0
    given: tuple[float, ...] = ()
    drawn: tuple[int, ...] = ()


BEGINNING = Place()


@dataclass(frozen=True)
class Sums:
    """Sequences that fit a row, their tokens, and how many do not.

    Those of `tts_continued` whose speaker has no other utterance to go on from fit none.
    """

    sequences: int = 0
    tokens: int = 0
    too_long: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.sequences + other.sequences,
            self.tokens + other.tokens,
            self.too_long + other.too_long,
        )


@dataclass(frozen=True)
class Stream:
    """The sequences of one task, language and source: a part of the catalogue's groups.

    `pairs` are positions (source, target) of conversions besides those of each from itself.
    `share` is of the tokens, over all streams 1.
    """

    task: Composition
    part: slice
    pairs: Numbers
    share: float

    def __len__(self) -> int:
        return self.part.stop - self.part.start + len(self.pairs)


@dataclass(frozen=True)
class Mixture:
    """The endless order of sequences of a phase; iterating again starts again.

    `pairs` are positions (source, target), shape (pairs, 2), of parallel utterances trained on.
    """

    config: MixtureConfig
    catalogue: Catalogue
    row_tokens: int
    seed: int
    pairs: Numbers = field(default_factory=lambda: np.empty((0, 2), np.int64))

    @cached_property
    def _found(self) -> dict[tuple[Composition, str, str], tuple[Stream, Sums]]:
        """Each stream there could be, without a share, and what is in it."""
        found = {}
        for task in COMPOSITIONS:
            if not self.config.tasks.get(task):
                continue
            for (language, source), part in self.catalogue.groups.items():
                pairs = self._pairs_of(part) if task == "vc" else self.pairs[:0]
                stream = Stream(task, part, pairs, 0.0)
                found[task, language, source] = stream, self._sums(stream)
        return found

    @cached_property
    def tasks(self) -> dict[Composition, Sums]:
        """The sequences of each task that has a share; raises UserError where there are none."""
        tasks: dict[Composition, Sums] = {}
        for (task, _, _), (_, sums) in self._found.items():
            tasks[task] = tasks.get(task, Sums()) + sums
        if not tasks:
            raise UserError("No task has a share in mixture.tasks; give one a share above 0.")
        return tasks

    @cached_property
    def streams(self) -> list[Stream]:
        """All streams that anything is drawn from; raises UserError for a task without any."""
        for key, named, side in (
            ("languages", self.config.languages, 0),
            ("sources", self.config.sources, 1),
        ):
            _check_names(key, named, sorted({group[side] for group in self.catalogue.groups}))
        streams = []
        for task, of_task in self.tasks.items():
            weighed = []
            for (its_task, language, source), (stream, sums) in self._found.items():
                times = self.config.languages.get(language, 1.0)
                times *= self.config.sources.get(source, 1.0)
                if its_task == task and times and sums.sequences:
                    weighed.append((stream, times * sums.tokens))
            if not weighed:
                raise UserError(
                    f"No sequence of task {task} fits a row of {self.row_tokens} tokens and the "
                    f"mixture ({of_task.too_long} are too long); raise row_tokens or change the "
                    "mixture."
                )
            share = self.config.tasks[task] / sum(self.config.tasks.values())
            tokens = sum(weight for _, weight in weighed)
            streams += [
                Stream(stream.task, stream.part, stream.pairs, share * weight / tokens)
                for stream, weight in weighed
            ]
        return streams

    def __iter__(self) -> Iterator[Draw]:
        for _, draws in self._windows(BEGINNING):
            yield from draws

    def rows(self, start: Place = BEGINNING) -> Iterator[tuple[Place, list[list[Draw]]]]:
        """Windows of rows from a place on, each with the place where it starts."""
        for place, draws in self._windows(start):
            rows = plan_rows(draws, self.row_tokens, [self.seed, place.window])
            start = place._replace(row=start.row)
            yield start, rows
            start = start._replace(row=start.row + len(rows))

    def _windows(self, start: Place) -> Iterator[tuple[Place, list[Draw]]]:
        """Windows of sequences, each with the place where it starts (but for its row)."""
        shares = [stream.share for stream in self.streams]
        drawn = list(start.drawn or [0] * len(shares))
        behind = [(given, n) for n, given in enumerate(start.given or [0.0] * len(shares))]
        heapq.heapify(behind)
        streams = [self._stream(number, drawn[number]) for number in range(len(shares))]
        window = start.window
        while True:
            given = tuple(given for given, _ in sorted(behind, key=lambda each: each[1]))
            place = Place(0, window, given, tuple(drawn))
            draws = []
            for _ in range(WINDOW):
                given_so_far, number = behind[0]
                drawn[number], draw = next(streams[number])
                draws.append(draw)
                given_now = given_so_far + draw.length / shares[number]
                heapq.heapreplace(behind, (given_now, number))
            yield place, draws
            window += 1

    def _stream(self, number: int, drawn: int) -> Iterator[tuple[int, Draw]]:
        """The sequences of a stream, each with how many of it are drawn then.

        One that does not fit is drawn and left out.
        """
        stream, rows = self.streams[number], self.catalogue.rows
        while True:
            turn, first = divmod(drawn, len(stream))
            places = np.arange(first, min(first + DRAWN_AT_ONCE, len(stream)))
            key = [self.seed, number, turn]
            chosen = permuted(places, len(stream), key)
            sources, targets = self._pairs(stream, chosen)
            references = self._references(stream.task, sources, targets, [*key, 1])
            lengths = self.catalogue.sequence_lengths(stream.task, sources, targets, references)
            columns = rows[sources], rows[targets], rows[references], lengths
            for i, draw in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
                if draw[-1] <= self.row_tokens:
                    yield drawn + i + 1, Draw(stream.task, *draw)
            drawn += len(places)

    def _pairs_of(self, part: slice) -> Numbers:
        """The pairs whose target is in a group; its positions are sorted."""
        members = self.catalogue.by_group[part]
        targets = self.pairs[:, 1].astype(members.dtype)
        places = np.minimum(np.searchsorted(members, targets), len(members) - 1)
        return self.pairs[members[places] == targets]

    def _pairs(self, stream: Stream, chosen: NDArray[Any]) -> tuple[Numbers, Numbers]:
        """Positions of sources and targets of a stream's sequences."""
        alone = len(stream) - len(stream.pairs)
        given = chosen >= alone
        of_group = self.catalogue.by_group[stream.part.start + np.where(given, 0, chosen)]
        sources = of_group.astype(np.int64)
        targets = sources.copy()
        sources[given], targets[given] = stream.pairs[chosen[given] - alone].T
        return sources, targets

    def _references(
        self, task: Composition, sources: Numbers, targets: Numbers, key: list[int]
    ) -> Numbers:
        """Positions of those in whose voice targets are said; the two of a given pair in its own."""
        own = self.catalogue.references(targets, key)
        if task != "vc" or self.config.vc_voice is None:
            return own
        return np.where(sources == targets, self.catalogue.anyone(targets, key), own)

    def _sums(self, stream: Stream) -> Sums:
        """What is in a stream; lengths that hang on the reference are those of one pass."""
        total = Sums()
        for start in range(0, len(stream), ADDED_AT_ONCE):
            chosen = np.arange(start, min(start + ADDED_AT_ONCE, len(stream)))
            sources, targets = self._pairs(stream, chosen)
            references = targets  # no length hangs on them but where they are continued
            if stream.task == "tts_continued":
                references = self.catalogue.references(targets, [self.seed])
            lengths = self.catalogue.sequence_lengths(stream.task, sources, targets, references)
            fits = lengths <= self.row_tokens
            kept = int(np.count_nonzero(fits))
            total += Sums(kept, int(lengths[fits].sum()), len(chosen) - kept)
        return total


def plan_rows(draws: list[Draw], row_tokens: int, seed: list[int]) -> list[list[Draw]]:
    """Pack a window of draws into rows, in random order: packing alone puts long ones first."""
    rows = pack([draw.length for draw in draws], row_tokens)
    order = np.random.default_rng(seed).permutation(len(rows))
    return [[draws[i] for i in rows[number]] for number in order.tolist()]


def _check_names(key: str, weights: dict[str, float], known: list[str]) -> None:
    """A misspelt language would silently keep its weight of 1."""
    for name in weights:
        if name not in known:
            raise UserError(
                f"mixture.{key} names {name!r}, which the data does not have; it has "
                f"{', '.join(known)}."
            )
