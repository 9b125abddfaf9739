"""What a text is scored by: its errors, corpus WER, and the part of a text that was heard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein, ScoreAlignment

from gpa.curation.intervals import Estimate, ratio


@dataclass(frozen=True)
class Errors:
    """Edits that turn a hypothesis into its reference, and the reference's length, in units."""

    edits: int
    reference_units: int


def errors(reference: Sequence[str], hypothesis: Sequence[str]) -> Errors:
    """Levenshtein distance over units: words give WER, characters give CER."""
    return Errors(Levenshtein.distance(reference, hypothesis), len(reference))


def corpus_wer(counts: Iterable[Errors]) -> Estimate:
    """All edits over all reference units, one `Errors` an utterance."""
    listed = list(counts)
    return ratio([e.edits for e in listed], [e.reference_units for e in listed])


def nearest_window(
    reference: Sequence[str],
    hypotheses: Sequence[Sequence[str]],
    free_head: int,
    free_tail: int,
    expected: tuple[int, int],
) -> tuple[int, int]:
    """The part of a text that was heard, by what was heard: reference[first:last].

    Up to `free_head` units may be missing in front and `free_tail` behind. Of all such windows it
    is the one with the fewest edits to all `hypotheses` together, so that every system is scored
    against the same reference; among equals the longest (a word at the edge was rather misheard
    than invented), then the one nearest to `expected`. Silence has no say, nor has a loop, more
    than twice as long as the whole text. An edge word that all systems missed is not counted
    against them.
    """
    ids: dict[str, str] = {}

    def code(units: Sequence[str]) -> str:
        return "".join([ids.setdefault(unit, chr(len(ids))) for unit in units])

    coded = code(reference)
    length = len(coded)
    said = [code(each) for each in hypotheses if 0 < len(each) <= 2 * length]
    if not said:
        return expected
    # A text of an hour has too many windows: search around the best match of any hypothesis, and
    # around where the window should be.
    best = max((_match(coded, each) for each in said), key=lambda match: match.score)
    reach = max(map(len, said))
    latest_first, earliest_last = min(free_head, length), max(length - free_tail, 0)
    windows = {
        (first, last)
        for near_first, near_last in ((best.src_start, best.src_end), expected)
        for first in _around(near_first, reach, 0, latest_first)
        for last in _around(near_last, reach, earliest_last, length)
        if first <= last
    }

    def cost(window: tuple[int, int]) -> tuple[int, int, int, int]:
        first, last = window
        edits = sum(Levenshtein.distance(coded[first:last], each) for each in said)
        away = abs(first - expected[0]) + abs(last - expected[1])
        return edits, first - last, away, first

    return min(windows, key=cost, default=expected)


def _around(place: int, reach: int, lowest: int, highest: int) -> range:
    """Positions from `lowest` to `highest` near a place; the nearest one where none is."""
    return range(
        min(max(place - reach, lowest), highest), max(min(place + reach, highest), lowest) + 1
    )


def _match(text: str, part: str) -> ScoreAlignment:
    """Where `part` fits best into `text`."""
    found = fuzz.partial_ratio_alignment(text, part)
    return found or ScoreAlignment(0.0, 0, len(text), 0, len(part))
