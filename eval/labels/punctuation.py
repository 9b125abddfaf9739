"""Commas and stops of a text against those of the same text as a person wrote it.

A comma stands for every mark inside a sentence (, ; : and dashes), a stop for every mark that
ends one (. ! ? and ellipses): readers agree on no finer classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import regex
from rapidfuzz.distance import Levenshtein

from gpa.curation.punctuate.pauses import WrittenText, split_words

Mark = Literal["comma", "stop"]
MARKS: tuple[Mark, ...] = ("comma", "stop")
_STOP = regex.compile(r"[.!?。！？…]")
_COMMA = regex.compile(r"[,;:，；：、،؛—–]|--|\s-\s")


@dataclass(frozen=True)
class MarkCounts:
    """Marks that stand in both texts, in the hypothesis alone, and in the reference alone."""

    right: int
    wrong: int
    missed: int


def words_and_marks(text: str) -> tuple[list[str], list[Mark | None]]:
    """Words in lower case, and the mark after each."""
    written = split_words(text)
    return [_fold(word) for word in written.words], _marks(written)


def count_marks(
    reference: tuple[Sequence[str], Sequence[Mark | None]],
    hypothesis: tuple[Sequence[str], Sequence[Mark | None]],
) -> dict[Mark, MarkCounts]:
    """Compare the marks after words that align; a mark after an unaligned word has no partner."""
    (words, marks), (heard, heard_marks) = reference, hypothesis
    pairs: list[tuple[Mark | None, Mark | None]] = []
    for block in Levenshtein.opcodes(words, heard):
        after = marks[block.src_start : block.src_end]
        heard_after = heard_marks[block.dest_start : block.dest_end]
        pairs += [
            (
                after[index] if index < len(after) else None,
                heard_after[index] if index < len(heard_after) else None,
            )
            for index in range(max(len(after), len(heard_after)))
        ]
    return {
        mark: MarkCounts(
            right=sum(ours == mark and theirs == mark for ours, theirs in pairs),
            wrong=sum(ours != mark and theirs == mark for ours, theirs in pairs),
            missed=sum(ours == mark and theirs != mark for ours, theirs in pairs),
        )
        for mark in MARKS
    }


def _fold(word: str) -> str:
    return word.casefold().replace("’", "'").rstrip(".")


def _marks(written: WrittenText) -> list[Mark | None]:
    found: list[Mark | None] = []
    for word, gap in zip(written.words, written.gaps[1:], strict=True):
        if _STOP.search(gap):
            found.append("stop")
        elif _COMMA.search(gap):
            found.append("comma")
        else:
            # The dot of an abbreviation at the end of a text ends the sentence too.
            last = word.endswith(".") and len(found) == len(written.words) - 1
            found.append("stop" if last else None)
    return found
