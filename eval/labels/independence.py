"""Figures of how often recognisers err together, where the truth is known.

Counting is `gpa.curation.report.overlap`'s; here stand the intervals, and what of a run is counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpa.curation.intervals import Estimate, ratio, relative
from gpa.curation.report.overlap import ErrorOverlap, overlaps
from gpa.curation.text.units import units
from gpa.eval.labels.judged import JudgedText


def error_overlaps(judged: Sequence[JudgedText]) -> dict[tuple[str, str], list[ErrorOverlap]]:
    """By pair of ASRs, one entry for each utterance that both heard."""
    return overlaps(
        [item.reference.units for item in judged],
        [
            {
                asr: units(text, item.reference.language)
                for asr, text in item.utterance.hypotheses.items()
            }
            for item in judged
        ],
    )


def figures(judged: Sequence[JudgedText]) -> dict[str, Estimate]:
    """For each two ASRs: how often both are wrong, and how many times as often as chance has it."""
    found = {}
    for (first, second), pair in error_overlaps(judged).items():
        name = f"{first} and {second}"
        both = [each.both_wrong for each in pair]
        words = [each.reference_units for each in pair]
        found[f"{name}: both wrong"] = ratio(both, words)
        found[f"{name}: the same error"] = ratio([each.same_wrong for each in pair], words)
        # P(both) / (P(first) P(second)) is how often the second is wrong where the first is,
        # over how often it is wrong at all.
        found[f"{name}: both wrong, times chance"] = relative(
            (both, [each.first_wrong for each in pair]),
            ([each.second_wrong for each in pair], words),
        )
    return found
