"""Whether recognisers err together, where a reference exists.

Two recognisers that agree may both be wrong. Independent ones are wrong at the same place as often
as chance has it; related ones (two sizes of one model) far more often, and then their agreement is
worth less than it seems.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import combinations

from rapidfuzz.distance import Levenshtein

# What was heard at each place of a reference: its unit, another one, or nothing.
Outcomes = list[str | None]


@dataclass(frozen=True)
class ErrorOverlap:
    """Two recognisers over the same reference units; all fields but the names are counts."""

    first: str
    second: str
    reference_units: int
    first_wrong: int
    second_wrong: int
    both_wrong: int
    same_wrong: int  # both wrong, and both heard the same

    @property
    def expected_both_wrong(self) -> float:
        """How often both would be wrong if the errors of one said nothing of the other's."""
        if not self.reference_units:
            return 0.0
        return self.first_wrong * self.second_wrong / self.reference_units

    @property
    def times_expected(self) -> float | None:
        """1 where they are independent; None where one of them made no error."""
        return self.both_wrong / self.expected_both_wrong if self.expected_both_wrong else None


def outcomes(reference: Sequence[str], hypothesis: Sequence[str]) -> Outcomes:
    """What was heard for each reference unit, None where nothing was; what was added has no place.

    Of the alignments with the fewest edits it is one; equal texts give equal outcomes.
    """
    heard: Outcomes = list(reference)
    for edit in Levenshtein.editops(reference, hypothesis):
        if edit.tag == "replace":
            heard[edit.src_pos] = hypothesis[edit.dest_pos]
        elif edit.tag == "delete":
            heard[edit.src_pos] = None
    return heard


def overlap(
    first: str, second: str, reference: Sequence[str], heard: Mapping[str, Outcomes]
) -> ErrorOverlap:
    """The errors of two recognisers in one utterance."""
    wrong = [
        (one != said, other != said, one == other)
        for said, one, other in zip(reference, heard[first], heard[second], strict=True)
    ]
    return ErrorOverlap(
        first,
        second,
        len(reference),
        sum(one for one, _, _ in wrong),
        sum(other for _, other, _ in wrong),
        sum(one and other for one, other, _ in wrong),
        sum(one and other and same for one, other, same in wrong),
    )


def overlaps(
    references: Sequence[Sequence[str]], hypotheses: Sequence[Mapping[str, Sequence[str]]]
) -> dict[tuple[str, str], list[ErrorOverlap]]:
    """For each two recognisers their errors, utterance by utterance where both heard it."""
    found: dict[tuple[str, str], list[ErrorOverlap]] = {}
    for reference, texts in zip(references, hypotheses, strict=True):
        heard = {asr: outcomes(reference, text) for asr, text in texts.items()}
        for pair in combinations(sorted(heard), 2):
            found.setdefault(pair, []).append(overlap(*pair, reference, heard))
    return dict(sorted(found.items()))


def total(of_utterances: Sequence[ErrorOverlap]) -> ErrorOverlap:
    """The sum over utterances of one pair, of which there is at least one."""
    first, second, *counts = zip(*map(astuple, of_utterances), strict=True)
    return ErrorOverlap(first[0], second[0], *map(sum, counts))
