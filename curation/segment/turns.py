"""What becomes of speaker turns: stretches of one speaker, and drops that tile the rest."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from gpa.curation.spans import Span, intersect, subtract, union


@dataclass(frozen=True)
class Stretch:
    """Where one speaker talks alone, short pauses included; `speech` are the spans between them."""

    speaker: int
    speech: tuple[Span, ...]

    @property
    def start(self) -> int:
        """First sample of the speech."""
        return self.speech[0][0]

    @property
    def end(self) -> int:
        """Sample after the last of the speech."""
        return self.speech[-1][1]


@dataclass(frozen=True)
class Drop:
    """A span that is not kept, and why; `value` is the number that decided."""

    start: int
    end: int
    reason: str
    value: float | None = None


def shared(turns_of: Sequence[Sequence[Span]]) -> list[Span]:
    """Where two or more of the speakers talk at once; `turns_of[n]` are the turns of speaker n."""
    heard: list[Span] = []
    twice: list[Span] = []
    for turns in turns_of:
        twice += intersect(turns, heard)
        heard = union([*heard, *turns])
    return union(twice)


def interruptions(turns_of: Sequence[Sequence[Span]], shortest: int, pause: int) -> list[Span]:
    """Where one speaker gives way to another within less than `pause` samples.

    Spans are one sample wide or as wide as the gap. Turns under `shortest` samples don't count.
    """
    turns = sorted(
        (span, speaker)
        for speaker, spans in enumerate(turns_of)
        for span in spans
        if span[1] - span[0] >= shortest
    )
    return union(
        (min(before[1], after[0]), max(before[1], after[0]) + 1)
        for (before, talker), (after, next_talker) in itertools.pairwise(turns)
        if talker != next_talker and after[0] - before[1] < pause
    )


def stretches(
    turns_of: Sequence[Sequence[Span]], foreign: Sequence[Span], merge_pause: int
) -> list[Stretch]:
    """Stretches of one speaker, in order of time.

    Turns lose what lies in `foreign` (cross-talk, doubtful voices); those of one speaker are
    joined over pauses of at most `merge_pause` samples with nobody else and nothing foreign
    between. Turns must not overlap outside `foreign`.
    """
    alone = sorted(
        (span, speaker)
        for speaker, turns in enumerate(turns_of)
        for span in subtract(turns, foreign)
    )
    barriers = union(foreign)
    found: list[Stretch] = []
    for span, speaker in alone:
        last = found[-1] if found else None
        if (
            last is not None
            and last.speaker == speaker
            and span[0] - last.end <= merge_pause
            and not any(start < span[0] and end > last.end for start, end in barriers)
            and not any(start == last.end or end == span[0] for start, end in barriers)
        ):
            found[-1] = Stretch(speaker, (*last.speech, span))
        else:
            found.append(Stretch(speaker, (span,)))
    return found


def split(stretch: Stretch, pauses: Sequence[Span], shortest: int, longest: int) -> list[Stretch]:
    """Cut a stretch at its longest pauses until each part has at most `longest` samples.

    A pause is used if it leaves at least `shortest` samples on both sides, the one nearest the
    middle among equals. Parts without such a pause stay too long.
    """
    if stretch.end - stretch.start <= longest:
        return [stretch]
    usable = [
        pause
        for pause in pauses
        if pause[0] - stretch.start >= shortest and stretch.end - pause[1] >= shortest
    ]
    if not usable:
        return [stretch]
    middle = (stretch.start + stretch.end) / 2
    pause = max(usable, key=lambda p: (p[1] - p[0], -abs((p[0] + p[1]) / 2 - middle)))
    halves = apart(stretch, pause)
    if len(halves) == 1:
        return halves
    return [part for half in halves for part in split(half, pauses, shortest, longest)]


def apart(stretch: Stretch, pause: Span) -> list[Stretch]:
    """What is said before a pause and after it; the stretch itself where one of them is nothing."""
    halves = (
        intersect(stretch.speech, [(stretch.start, pause[0])]),
        intersect(stretch.speech, [(pause[1], stretch.end)]),
    )
    return [Stretch(stretch.speaker, tuple(half)) for half in halves] if all(halves) else [stretch]


def tile(samples: int, kept: Sequence[Span], drops: Sequence[Drop]) -> list[Drop]:
    """What must be dropped so that, with `kept`, every sample is accounted for exactly once.

    Earlier drops go before later ones where they overlap; what nobody claims is "non_speech";
    neighbours with one reason and value become one.
    """
    taken = list(kept)
    tiles: list[Drop] = []
    for drop in [*drops, Drop(0, samples, "non_speech")]:
        free = subtract([(drop.start, drop.end)], taken)
        tiles += [Drop(start, end, drop.reason, drop.value) for start, end in free]
        taken = union([*taken, *free])
    joined: list[Drop] = []
    for drop in sorted(tiles, key=lambda drop: drop.start):
        last = joined[-1] if joined else None
        if last and (last.end, last.reason, last.value) == (drop.start, drop.reason, drop.value):
            joined[-1] = Drop(last.start, drop.end, drop.reason, drop.value)
        else:
            joined.append(drop)
    return joined
