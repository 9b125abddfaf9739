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
from typing import Literal

from pydantic import Field
from rapidfuzz.distance import Levenshtein

from gpa.curation.text import Piece, is_character
from gpa.runtime.config import Config

# Costs in the proportions of NIST's rover, fitted to its networks: 4 for a substitution, 3 for a
# unit more or less, and little where a slot holds a null unit already.
_SUBSTITUTION, _GAP = 8, 6
_SUBSTITUTE_NULL, _SKIP_NULL = 2, 1


class RoverConfig(Config):
    """How a slot is voted on."""

    # Share of the vote that counts heads; the rest goes by confidence.
    alpha: float = Field(0.5, ge=0, le=1)
    null_confidence: float = Field(0.5, ge=0, le=1)
    # C(w): the sum over N (NIST's `avgconf`), the mean over N(w) (`meth1`) or the maximum (`maxconf`).
    confidence: Literal["avgconf", "meth1", "maxconf"] = "avgconf"


# Slots of the network: for each voter so far the position of its unit, None for the null unit.
Slot = list[int | None]


def align(hypotheses: Sequence[Sequence[str]]) -> list[Slot]:
    """The word transition network of hypotheses in units, the first being the skeleton."""
    network: list[Slot] = [[position] for position in range(len(hypotheses[0]))]
    for count, hypothesis in enumerate(hypotheses[1:], start=1):
        options = [
            {
                hypotheses[voter][position] if position is not None else None
                for voter, position in enumerate(slot)
            }
            for slot in network
        ]
        merged: list[Slot] = []
        for slot_index, position in _best_path(options, hypothesis):
            voters = network[slot_index] if slot_index is not None else [None] * count
            merged.append([*voters, position])
        network = merged
    return network


def _best_path(
    options: Sequence[set[str | None]], hypothesis: Sequence[str]
) -> list[tuple[int | None, int | None]]:
    """Cheapest alignment of slots and units, as pairs of (slot, unit position).

    Of equally cheap ones the one that pairs last things with last things.
    """
    skips = [_SKIP_NULL if None in option else _GAP for option in options]
    substitutions = [_SUBSTITUTE_NULL if None in option else _SUBSTITUTION for option in options]
    width = len(hypothesis) + 1
    costs = [[_GAP * column for column in range(width)]]
    for option, skip, substitution in zip(options, skips, substitutions, strict=True):
        above = costs[-1]
        here = [above[0] + skip]
        for column, unit in enumerate(hypothesis):
            paired = above[column] + (0 if unit in option else substitution)
            here.append(min(paired, above[column + 1] + skip, here[column] + _GAP))
        costs.append(here)

    path: list[tuple[int | None, int | None]] = []
    row, column = len(options), width - 1
    while row or column:
        cost = costs[row][column]
        if row and column:
            match = hypothesis[column - 1] in options[row - 1]
            if cost == costs[row - 1][column - 1] + (0 if match else substitutions[row - 1]):
                row, column = row - 1, column - 1
                path.append((row, column))
                continue
        if column and cost == costs[row][column - 1] + _GAP:
            column -= 1
            path.append((None, column))
        else:
            row -= 1
            path.append((row, None))
    return path[::-1]


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
    # The unit that opened the slot stands before the null units of earlier voters.
    opened_by = next(v for v, position in enumerate(slot) if position is not None)
    order = sorted(range(len(slot)), key=lambda voter: (voter != opened_by, voter))
    ballots: dict[str | None, list[float]] = {}
    for voter in order:
        position = slot[voter]
        if position is None:
            ballots.setdefault(None, []).append(config.null_confidence)
        else:
            unit = hypotheses[voter][position]
            ballots.setdefault(unit, []).append(confidences[voter][position])

    def score(unit: str | None) -> float:
        given = ballots[unit]
        if config.confidence == "maxconf":
            trust = max(given)
        elif config.confidence == "meth1":
            trust = sum(given) / len(given)
        else:
            trust = sum(given) / len(slot)
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
        """The units of all pieces in order."""
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
    starts = [_piece_starts(voter.pieces) for voter in voters]
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


def _piece_starts(pieces: Sequence[Piece]) -> dict[int, Piece]:
    """Pieces by the position of their first unit."""
    starts = {}
    position = 0
    for piece in pieces:
        starts[position] = piece
        position += len(piece.units)
    return starts


def _elected_of(
    elected: Sequence[tuple[str, Slot]], at: int, count: int, voter: int
) -> tuple[str, ...] | None:
    """The next `count` elected units if `voter` has units side by side in all their slots."""
    run = elected[at : at + count]
    first = run[0][1][voter]
    if first is None or [slot[voter] for _, slot in run] != list(range(first, first + count)):
        return None
    return tuple(unit for unit, _ in run)
