"""Punctuation follows the pauses of the reader (GPA section 3.1, after CosyVoice 3).

A comma is inserted where a long pause (>= 300 ms) lies between clauses; a clause mark inside a
fluent span (a pause < 50 ms) is removed; in between nothing changes. docs/punctuation.md says
how the rule was chosen and what it does to precision and recall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import regex

from gpa.curation.punctuate.clauses import clause_words, leans, opens

_TITLES = "Mr|Mrs|Ms|Dr|St|Prof|Rev|Gen|Col|Capt|Lt|Sgt|Sr|Jr|vs|etc|Inc|Ltd|Co|Mt|Ft"
_SYMBOLS = r"$£€¥%&+=@\#°"

# A written word: an abbreviation with its dots, one character of a script without spaces, or a
# run of letters and digits with what joins them (apostrophes, hyphens, the marks in 1,000.50).
_WORD = regex.compile(
    rf"""(?:\p{{L}}\.){{2,}}
      | \b(?:{_TITLES})\.
      | \bNo\.(?=\s\d)
      | \b(?!I\.)\p{{Lu}}\.(?=\s+\p{{Lu}})
      | [\p{{Han}}\p{{Hiragana}}\p{{Katakana}}]\p{{M}}*[ー々]?
      | (?:['’](?=(?i:em|cause|til|bout|tis|twas|round)\b))?
        [{_SYMBOLS}]*
        (?:(?![\p{{Han}}\p{{Hiragana}}\p{{Katakana}}])[\p{{L}}\p{{M}}\p{{N}}])
        (?:
            (?![\p{{Han}}\p{{Hiragana}}\p{{Katakana}}])[\p{{L}}\p{{M}}\p{{N}}]
          | (?<=[\p{{L}}\p{{M}}\p{{N}}])['’\-‐.&@/_+](?=[\p{{L}}\p{{N}}])
          | (?<=\p{{N}})[,:–](?=\p{{N}})
        )*
        [%°+]*
      | [{_SYMBOLS}]+
    """,
    regex.VERBOSE,
)


@dataclass(frozen=True)
class WrittenText:
    """A text cut into words and what stands between them.

    `gaps` has one entry more than `words`: the text is gaps[0] + words[0] + gaps[1] + ... and
    `str()` gives it back exactly.
    """

    words: tuple[str, ...]
    gaps: tuple[str, ...]

    def __str__(self) -> str:
        pairs = zip(self.gaps, (*self.words, ""), strict=True)
        return "".join(gap + word for gap, word in pairs)


def split_words(text: str) -> WrittenText:
    """Words and gaps of any text; scripts without spaces give a word a character."""
    words, gaps, position = [], [], 0
    for match in _WORD.finditer(text):
        gaps.append(text[position : match.start()])
        words.append(match.group())
        position = match.end()
    return WrittenText(tuple(words), (*gaps, text[position:]))


# Which clause marks inside a fluent span are removed; see `punctuate`.
FluentMarks = Literal["misplaced", "all"]


@dataclass(frozen=True)
class Edit:
    """A mark put after, or taken from after, the word at `word_index`, and the pause there."""

    action: Literal["insert", "remove"]
    mark: str
    word_index: int
    pause_ms: float


# A gap that holds one clause mark and nothing else: the only gaps that lose a mark. Quotes,
# brackets, sentence ends and ellipses are never touched.
_CLAUSE_MARK = regex.compile(r"\s*([,;:，；：、،؛—–]|--)\s*|\s+(-)\s+")
_COMMA = {"zh": "，", "ja": "、", "ar": "،", "fa": "،", "ur": "،"}
# Scripts that write no space after a mark.
_UNSPACED = frozenset({"zh", "ja", "th"})
# An aside that is spoken without its commas, such as "was, in fact, the kind".
_LONGEST_ASIDE_WORDS = 3


def punctuate(
    text: WrittenText,
    pauses_ms: Sequence[float],
    language: str,
    long_pause_ms: float = 300.0,
    fluent_pause_ms: float = 50.0,
    fluent_marks: FluentMarks = "misplaced",
) -> tuple[WrittenText, tuple[Edit, ...]]:
    """Insert and remove clause marks by the pauses that were heard.

    `pauses_ms` has one pause for each pair of neighbouring words. A comma goes in where the pause
    is long, no mark stands, and the words say that one clause ends and another begins (never in
    a language that `clauses` doesn't know). Of the marks inside fluent spans `all` go, as in the
    paper, or those `misplaced`: where no clause can end, with the mark that closes a short aside.
    Sentence ends stay: they are grammar. Raises ValueError where the pauses don't fit the words.
    """
    if len(pauses_ms) != max(0, len(text.words) - 1):
        raise ValueError(f"{len(pauses_ms)} pauses for {len(text.words)} words")
    removed = {
        index
        for index, pause_ms in enumerate(pauses_ms)
        if pause_ms < fluent_pause_ms and _CLAUSE_MARK.fullmatch(text.gaps[index + 1])
    }
    if fluent_marks == "misplaced":
        removed = _misplaced(text, removed, language)
    spaced = language not in _UNSPACED
    gaps, edits = list(text.gaps), []
    for index, pause_ms in enumerate(pauses_ms):
        if index in removed:
            gaps[index + 1] = " " if spaced else ""
            edits.append(Edit("remove", text.gaps[index + 1].strip(), index, pause_ms))
        elif pause_ms >= long_pause_ms and _between_clauses(text, index, language):
            mark = _COMMA.get(language, ",")
            gaps[index + 1] = mark + " " if spaced else mark
            edits.append(Edit("insert", mark, index, pause_ms))
    return WrittenText(text.words, tuple(gaps)), tuple(edits)


def _misplaced(text: WrittenText, fluent: set[int], language: str) -> set[int]:
    """Those of the fluent marks that stand where no clause can end."""
    if language not in clause_words():
        return set()
    candidates = {index for index in fluent if not opens(text.words, index + 1, language)}
    marked = [index for index in range(len(text.words)) if text.gaps[index + 1].strip()]
    misplaced: set[int] = set()
    for index, following in pairwise([*marked, len(text.words)]):
        if index not in candidates or not leans(text.words, index, language):
            continue
        if following - index > _LONGEST_ASIDE_WORDS:
            misplaced.add(index)
        elif following in candidates:
            misplaced |= {index, following}
    return misplaced


def _between_clauses(text: WrittenText, index: int, language: str) -> bool:
    """True where a comma may go after the word at `index`: nothing but space stands there."""
    if language not in clause_words() or text.gaps[index + 1].strip():
        return False
    if text.words[index].endswith("."):
        # An abbreviation, whose dot may end the sentence as well.
        return False
    if leans(text.words, index, language) or not opens(text.words, index + 1, language):
        return False
    shortest = clause_words()[language].shortest
    left = _words_to_mark(text, range(index, -1, -1), 0)
    right = _words_to_mark(text, range(index + 1, len(text.words)), 1)
    return left >= shortest and right >= shortest


def _words_to_mark(text: WrittenText, indices: range, side: int) -> int:
    """Number of words from the first index to the nearest mark or the text's edge."""
    for count, index in enumerate(indices, start=1):
        if text.gaps[index + side].strip():
            return count
    return len(indices)
