"""ROVER: hypotheses aligned into one word transition network, and each slot put to the vote.

Fiscus 1997, "A post-processing system to yield reduced word error rates: Recognizer Output Voting
Error Reduction", as NIST's `rover` does it. The first hypothesis is the skeleton; each further one
is aligned with the network so far by dynamic programming, and opens new slots where it has more.
In a slot a unit w (or the null unit, "nothing was said here") scores

    alpha * N(w) / N + (1 - alpha) * C(w)

with N(w) of N voters for it and C(w) made of their confidences; the null unit has a confidence of
its own. Voting runs on agreement units; what is written comes from the voters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import Literal

import numpy as np
from pydantic import Field
from rapidfuzz.distance import Levenshtein

from gpa.curation.models.protocols import Hypothesis
from gpa.curation.text.units import Piece, is_character, pieces, units
from gpa.runtime.config import Config

# Costs of NIST's rover: a substitution, a unit more or less, a unit where the network has a null
# unit, a null unit skipped. In single precision, because its sums decide between alignments that
# cost the same but for rounding.
_SUBSTITUTION, _GAP = np.float32(4), np.float32(3)
_SUBSTITUTE_NULL, _SKIP_NULL = np.float32(1), np.float32(0.001)


class RoverConfig(Config):
    """How a slot is voted on."""

    # Share of the vote that counts heads; the rest goes by confidence.
    alpha: float = Field(0.5, ge=0, le=1)
    null_confidence: float = Field(0.5, ge=0, le=1)
    # C(w): its share of all confidence in the slot (NIST's `avgconf`), the mean over N(w) (`meth1`)
    # or the maximum (`maxconf`).
    confidence: Literal["avgconf", "meth1", "maxconf"] = "avgconf"


# Slots of the network: for each voter so far the position of its unit, None for the null unit.
Slot = list[int | None]


def align(hypotheses: Sequence[Sequence[str]]) -> list[Slot]:
    """The word transition network of hypotheses in units, the first being the skeleton."""
    network: list[Slot] = [[position] for position in range(len(hypotheses[0]))]
    for count, hypothesis in enumerate(hypotheses[1:], start=1):
        options = [[unit for _, unit in _ballots(slot, hypotheses)] for slot in network]
        merged: list[Slot] = []
        for slot_index, position in _best_path(options, hypothesis):
            voters = network[slot_index] if slot_index is not None else [None] * count
            merged.append([*voters, position])
        network = merged
    return network


def _ballots(slot: Slot, hypotheses: Sequence[Sequence[str]]) -> list[tuple[int, str | None]]:
    """Voters of a slot with what each has in it, in NIST's order, which decides ties.

    That is the order of the voters, but whoever opened the slot stands before the null units of
    those before it.
    """
    opened_by = next(v for v, position in enumerate(slot) if position is not None)
    order = sorted(range(len(slot)), key=lambda voter: (voter != opened_by, voter))
    return [(voter, _unit(hypotheses[voter], slot[voter])) for voter in order]


def _unit(hypothesis: Sequence[str], position: int | None) -> str | None:
    return None if position is None else hypothesis[position]


# A step of an alignment: a unit goes into a slot, opens one, or a slot is skipped.
Step = Literal["pair", "open", "skip"]


def _best_path(
    options: Sequence[Sequence[str | None]], hypothesis: Sequence[str]
) -> list[tuple[int | None, int | None]]:
    """Cheapest alignment of slots and units, as pairs of (slot, unit position).

    `options` has the units of each slot. Of equally cheap alignments it is NIST's: seen from the
    end, each slot is left by the first of its units that costs least, and at that unit "pair"
    goes before "open", which goes before "skip".
    """
    row: list[tuple[np.float32, Step]] = [
        (_GAP * column, "open") for column in range(len(hypothesis) + 1)
    ]
    rows = [row]
    for of_slot in options:
        each = [_by_unit(unit, hypothesis, row) for unit in of_slot]
        # `min` returns the first of equals.
        row = [min(ends, key=itemgetter(0)) for ends in zip(*each, strict=True)]
        rows.append(row)

    path: list[tuple[int | None, int | None]] = []
    slots, column = len(options), len(hypothesis)
    while slots or column:
        _, step = rows[slots][column]
        slots -= step != "open"
        column -= step != "skip"
        path.append((slots if step != "open" else None, column if step != "skip" else None))
    return path[::-1]


def _by_unit(
    unit: str | None, hypothesis: Sequence[str], above: Sequence[tuple[np.float32, Step]]
) -> list[tuple[np.float32, Step]]:
    """Cost of each beginning of the hypothesis up to and with a slot, and the step that ends it.

    The slot is passed by its `unit`; `above` has the same for the slots before it.
    """
    skip = _SKIP_NULL if unit is None else _GAP
    substitution = _SUBSTITUTE_NULL if unit is None else _SUBSTITUTION
    here: list[tuple[np.float32, Step]] = [(above[0][0] + skip, "skip")]
    for column, heard in enumerate(hypothesis):
        steps: list[tuple[np.float32, Step]] = [
            (above[column][0] + (0 if heard == unit else substitution), "pair"),
            (here[column][0] + _GAP, "open"),
            (above[column + 1][0] + skip, "skip"),
        ]
        here.append(min(steps, key=itemgetter(0)))
    return here


def vote(
    network: Sequence[Slot],
    hypotheses: Sequence[Sequence[str]],
    confidences: Sequence[Sequence[float]],
    config: RoverConfig,
) -> list[str | None]:
    """The winner of each slot, None where nothing was said.

    Ties go to the earliest voter, but to a unit rather than to the null units before it.
    """
    return [_winner(slot, hypotheses, confidences, config) for slot in network]


def _winner(
    slot: Slot,
    hypotheses: Sequence[Sequence[str]],
    confidences: Sequence[Sequence[float]],
    config: RoverConfig,
) -> str | None:
    ballots: dict[str | None, list[float]] = {}
    for voter, unit in _ballots(slot, hypotheses):
        position = slot[voter]
        trust = config.null_confidence if position is None else confidences[voter][position]
        ballots.setdefault(unit, []).append(trust)
    total = sum(map(sum, ballots.values()))

    def score(unit: str | None) -> float:
        given = ballots[unit]
        if config.confidence == "maxconf":
            trust = max(given)
        elif config.confidence == "meth1":
            trust = sum(given) / len(given)
        else:
            trust = sum(given) / total if total else 0.0
        return round(config.alpha * len(given) / len(slot) + (1 - config.alpha) * trust, 12)

    # `max` returns the first of equals.
    return max(ballots, key=score)


@dataclass(frozen=True)
class Voter:
    """One hypothesis: its written pieces, and the confidence of each of their units in order."""

    pieces: Sequence[Piece]
    confidences: Sequence[float]

    @property
    def units(self) -> list[str]:
        return [unit for piece in self.pieces for unit in piece.units]


def unit_confidences(
    units: Sequence[str], words: Sequence[tuple[Sequence[str], float | None]], otherwise: float
) -> list[float]:
    """A confidence for each unit of a hypothesis, from its words as (units, confidence).

    Units that no word accounts for alone ("21" said as two words), and words without a
    confidence, have `otherwise`.
    """
    of_words = [
        (unit, otherwise if confidence is None else confidence)
        for word, confidence in words
        for unit in word
    ]
    found = [otherwise] * len(units)
    for block in Levenshtein.opcodes([unit for unit, _ in of_words], list(units)):
        if block.tag == "equal":
            for step in range(block.dest_end - block.dest_start):
                found[block.dest_start + step] = of_words[block.src_start + step][1]
    return found


def rover(voters: Sequence[Voter], config: RoverConfig) -> str:
    """The text that the voters elect, in written form; the first voter is the skeleton.

    Each winning unit is written as the earliest voter that has it writes it, so that case and
    marks come from the skeleton wherever it agrees. A piece of several units ("I'm") is taken only
    if all of them won side by side; a unit that no piece can write stands as the bare unit.
    """
    hypotheses = [voter.units for voter in voters]
    network = align(hypotheses)
    winners = vote(network, hypotheses, [voter.confidences for voter in voters], config)
    elected = [
        (unit, slot) for unit, slot in zip(winners, network, strict=True) if unit is not None
    ]
    # Pieces by the position of their first unit.
    starts = [
        dict(zip(accumulate((len(p.units) for p in v.pieces), initial=0), v.pieces, strict=False))
        for v in voters
    ]
    text = ""
    at = 0
    while at < len(elected):
        unit, slot = elected[at]
        piece = Piece((unit,), unit, not is_character(unit))
        for voter, position in enumerate(slot):
            found = starts[voter].get(position) if position is not None else None
            if found and found.units == _elected_of(elected, at, len(found.units), voter):
                piece = found
                break
        text += (" " if piece.space_before and text else "") + piece.written
        at += len(piece.units)
    return text


def _elected_of(
    elected: Sequence[tuple[str, Slot]], at: int, count: int, voter: int
) -> tuple[str, ...] | None:
    """The next `count` elected units if `voter` has units side by side in all their slots."""
    run = elected[at : at + count]
    first = run[0][1][voter]
    if first is None or [slot[voter] for _, slot in run] != list(range(first, first + count)):
        return None
    return tuple(unit for unit, _ in run)


def elect(
    voted: Sequence[Hypothesis],
    skeleton: int,
    trust: Sequence[float],
    language: str,
    config: RoverConfig,
) -> str:
    """ROVER's text over hypotheses that weigh `trust` each, the one at `skeleton` first."""
    order = [skeleton, *(index for index in range(len(voted)) if index != skeleton)]
    return rover(
        [
            Voter(
                pieces(voted[index].text, language),
                unit_confidences(
                    units(voted[index].text, language),
                    [(units(word.word, language), word.confidence) for word in voted[index].words],
                    trust[index],
                ),
            )
            for index in order
        ],
        config,
    )
