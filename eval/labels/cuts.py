"""Words that a boundary cuts in half, and how well they are found.

A boundary cuts a word if it lies inside one by more than 50 ms, by the times of words. Those come
from the truth; else from an aligner that is given the truth's text of each turn; where that fails
(other languages, noise) a boundary inside a turn cuts a word unless it lies in a pause.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal

from gpa.curation.audio import Waveform
from gpa.curation.models.align.pocketsphinx import PocketsphinxAligner, PocketsphinxConfig
from gpa.curation.models.protocols import Word
from gpa.curation.punctuate.pauses import split_words
from gpa.curation.segment.boundaries import (
    FRAME_MS,
    Levels,
    is_truncated,
    levels_db,
    loudness,
    pauses,
    quietest,
)
from gpa.curation.segment.stage import SegmentConfig
from gpa.eval.labels.truth import Truth

Evidence = Literal["word times", "aligned words", "energy", "turn ends"]

TOLERANCE_S = 0.05
# A pause in which a boundary may lie, and how near it must be.
_PAUSE_MS = 60.0
_PAUSE_POSITION = 0.35

# Cuts on purpose: in words and in pauses this long, in clips as long as utterances.
LEAST_WORD_S = 0.15
LEAST_PAUSE_S = 0.15
CLIP_S = 8.0
LEAST_CLIP_S = 1.0


@dataclass(frozen=True)
class TurnWords:
    """Where the words of a turn lie, seconds in the recording; empty where nothing tells."""

    start_s: float
    end_s: float
    words: tuple[Word, ...]
    evidence: Evidence


def words_of_turns(
    truth: Truth, waveform: Waveform, sample_rate: int, language: str
) -> list[TurnWords]:
    """The words of each turn of a recording, aligned where the truth has no times.

    `language` is that of turns whose truth names none.
    """
    if truth.words:
        start_s, end_s = truth.words[0].start_s, truth.words[-1].end_s
        return [TurnWords(start_s, end_s, truth.words, "word times")]
    clips = [
        waveform[round(turn.start_s * sample_rate) : round(turn.end_s * sample_rate)]
        for turn in truth.turns
    ]
    texts = [split_words((turn.text or "").lower()).words for turn in truth.turns]
    languages = [turn.language or language for turn in truth.turns]
    aligned = _aligner().align(clips, sample_rate, texts, languages)
    return [
        TurnWords(
            turn.start_s,
            turn.end_s,
            tuple(
                Word(word.word, word.start_s + turn.start_s, word.end_s + turn.start_s)
                for word in found.words
            ),
            "aligned words" if found.words else "energy",
        )
        for turn, found in zip(truth.turns, aligned, strict=True)
    ]


@cache
def _aligner() -> PocketsphinxAligner:
    aligner = PocketsphinxAligner(PocketsphinxConfig())
    aligner.load()
    return aligner


def is_cut(
    at_s: float, turns: Sequence[TurnWords], waveform: Waveform, sample_rate: int
) -> tuple[bool, Evidence]:
    """Whether a boundary cuts a word, and what says so."""
    inside = [
        turn for turn in turns if turn.start_s + TOLERANCE_S < at_s < turn.end_s - TOLERANCE_S
    ]
    verdicts: list[tuple[bool, Evidence]] = [
        (_in_word(at_s, turn.words), turn.evidence)
        if turn.words
        else (not _in_pause(at_s, turn, waveform, sample_rate), "energy")
        for turn in inside
    ]
    return max(verdicts, default=(False, "turn ends"))


def _in_word(at_s: float, words: Sequence[Word]) -> bool:
    return any(word.start_s + TOLERANCE_S < at_s < word.end_s - TOLERANCE_S for word in words)


def _in_pause(at_s: float, turn: TurnWords, waveform: Waveform, sample_rate: int) -> bool:
    """Whether a quiet stretch of the turn reaches within 50 ms of a time in it."""
    first, last = round(turn.start_s * sample_rate), round(turn.end_s * sample_rate)
    levels = levels_db(waveform[first:last], sample_rate)
    quiet_below_db = loudness(levels).quiet_below_db(_PAUSE_POSITION)
    return any(
        start * FRAME_MS / 1000 - TOLERANCE_S
        <= at_s - turn.start_s
        <= end * FRAME_MS / 1000 + TOLERANCE_S
        for start, end in pauses(levels, quiet_below_db, _PAUSE_MS)
    )


@dataclass(frozen=True)
class Trial:
    """A cut made on purpose, and whether the truncation rule took it for a cut word."""

    through_word: bool
    caught: bool


def trials(
    words: Sequence[Word], waveform: Waveform, sample_rate: int, config: SegmentConfig
) -> Iterator[Trial]:
    """Cut every long word in its middle and every long pause where it is quietest.

    Each cut gives two clips, the one that it ends and the one that it begins.
    """
    levels = levels_db(waveform, sample_rate)
    places = [
        (True, (word.start_s + word.end_s) / 2)
        for word in words
        if word.end_s - word.start_s >= LEAST_WORD_S
    ]
    places += [
        (False, _quietest_s(levels, before.end_s, after.start_s))
        for before, after in pairwise(words)
        if after.start_s - before.end_s >= LEAST_PAUSE_S
    ]
    begin_s, end_s = words[0].start_s, words[-1].end_s
    first, last = round(begin_s * sample_rate), round(end_s * sample_rate)
    longest, least = round(CLIP_S * sample_rate), round(LEAST_CLIP_S * sample_rate)
    for through_word, at_s in places:
        at = round(at_s * sample_rate)
        spans = (at, min(last, at + longest)), (max(first, at - longest), at)
        for side, (start, end) in enumerate(spans):
            if end - start >= least:
                caught = is_truncated(
                    waveform,
                    sample_rate,
                    start,
                    end,
                    config.cut_position,
                    config.quiet_position,
                    config.cut_db,
                )[side]
                yield Trial(through_word, caught)


def _quietest_s(levels: Levels, start_s: float, end_s: float) -> float:
    """Where segmentation would put a boundary in a pause, 30 ms from its ends at least."""
    frames_per_s = 1000 // FRAME_MS
    first, last = round(start_s * frames_per_s) + 3, round(end_s * frames_per_s) - 3
    return quietest(levels, (first + last) // 2, first, last) / frames_per_s
