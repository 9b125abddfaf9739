"""The truth text of an utterance, wherever it was cut.

Three ways, best first: by the times of words, where the truth has them; the texts of the turns
that the utterance covers whole; and, of a turn that it covers in part, the words that lie nearest
to what was heard (`metrics.nearest_window`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from gpa.curation.text.units import units
from gpa.eval.labels.truth import Truth, TruthTurn
from gpa.eval.metrics import nearest_window

Way = Literal["word times", "whole turns", "part of a turn", "nobody speaks"]

# A turn belongs to an utterance that holds this much of it.
LEAST_PART_S = 0.1
# What may lack of a turn that counts as whole: shorter than a word. The turn of a file whose
# speech has no known ends includes the silence around it.
WHOLE_SLACK_S = 0.2
UNTIMED_SLACK_S = 1.0
# Nobody speaks more words or characters in a second: bounds what a missing stretch can hold.
FASTEST_UNITS_PER_S = 10.0


@dataclass(frozen=True)
class Heard:
    """The turns whose text an utterance should have, and how much of the outer ones it lacks."""

    turns: tuple[TruthTurn, ...]
    missing_head_s: float  # of the first turn
    missing_tail_s: float  # of the last turn

    @property
    def whole(self) -> bool:
        """Whether every turn lies in the utterance."""
        return not self.missing_head_s and not self.missing_tail_s


@dataclass(frozen=True)
class Reference:
    """What was said in an utterance, in agreement units of `language`."""

    units: tuple[str, ...]
    language: str
    way: Way


def heard(truth: Truth, start_s: float, end_s: float) -> Heard:
    """The turns in an utterance, in order of time.

    Of two that sound at once the text is that of the one with more of the utterance: a turn is
    left out when more than half of its part is talked over by a turn whose part is longer.
    """
    parts = [
        (turn, max(turn.start_s, start_s), min(turn.end_s, end_s))
        for turn in truth.turns
        if min(turn.end_s, end_s) - max(turn.start_s, start_s) >= LEAST_PART_S
    ]
    main = [
        turn
        for turn, first, last in parts
        if not any(
            2 * (min(last, other_last) - max(first, other_first)) > last - first
            and other_last - other_first > last - first
            for _, other_first, other_last in parts
        )
    ]
    if not main:
        return Heard((), 0.0, 0.0)
    slack_s = WHOLE_SLACK_S if truth.timed else UNTIMED_SLACK_S
    head_s, tail_s = start_s - main[0].start_s, main[-1].end_s - end_s
    return Heard(
        tuple(main), head_s if head_s > slack_s else 0.0, tail_s if tail_s > slack_s else 0.0
    )


def window(
    found: Heard,
    tokens: Callable[[TruthTurn], Sequence[str]],
    hypotheses: Sequence[Sequence[str]],
) -> tuple[list[str], int, int]:
    """All tokens of the turns, and the first and last (excluded) of those in the utterance."""
    of_turns = [tokens(turn) for turn in found.turns]
    everything = [token for of_turn in of_turns for token in of_turn]
    if found.whole:
        return everything, 0, len(everything)

    def free(missing_s: float, of_turn: Sequence[str]) -> int:
        # Rounded, so that 0.3 s in binary fractions is not a little more.
        return min(len(of_turn), math.ceil(round(missing_s * FASTEST_UNITS_PER_S, 6)))

    def share(missing_s: float, turn: TruthTurn, of_turn: Sequence[str]) -> int:
        return round(len(of_turn) * missing_s / (turn.end_s - turn.start_s))

    expected_first = share(found.missing_head_s, found.turns[0], of_turns[0])
    expected_last = len(everything) - share(found.missing_tail_s, found.turns[-1], of_turns[-1])
    first, last = nearest_window(
        everything,
        hypotheses,
        free(found.missing_head_s, of_turns[0]),
        free(found.missing_tail_s, of_turns[-1]),
        (expected_first, max(expected_first, expected_last)),
    )
    return everything, first, last


def reference(
    truth: Truth, start_s: float, end_s: float, language: str, hypotheses: Sequence[str]
) -> Reference | None:
    """What was said between two times, None where the truth does not know.

    `hypotheses` are all that was heard in the utterance; `language` is that of the utterance,
    used where the truth names none. Where nobody speaks the reference is empty, so that every
    word of a label is an error.
    """
    found = heard(truth, start_s, end_s)
    language = next((turn.language for turn in found.turns if turn.language), language)
    if truth.words:
        inside = [w.word for w in truth.words if start_s <= (w.start_s + w.end_s) / 2 < end_s]
        return Reference(units(" ".join(inside), language), language, "word times")
    if not found.turns:
        knows = truth.timed and any(turn.text is not None for turn in truth.turns)
        return Reference((), language, "nobody speaks") if knows else None
    if any(turn.text is None for turn in found.turns):
        return None

    def tokens(turn: TruthTurn) -> Sequence[str]:
        return units(turn.text or "", turn.language or language)

    everything, first, last = window(found, tokens, [units(text, language) for text in hypotheses])
    way: Way = "whole turns" if found.whole else "part of a turn"
    return Reference(tuple(everything[first:last]), language, way)
