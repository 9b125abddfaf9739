"""Agreement units: what counts as the same when hypotheses are compared. For scoring only.

The text that is kept stays as its recogniser wrote it; here case, punctuation, full-width forms,
numerals and spelling variants that sound alike are folded, and the rest is cut into units. Units
follow the script, run by run: a character each of Chinese, Japanese, Korean, Thai and other
scripts that need no spaces (Korean puts them, but recognisers put them differently), a word of
everything else. So "我用GPT写" is four characters and one word, and "你好世界" equals "你好 世界".

English is in `english.py`, which also drops fillers ("um") and British spelling. For every other
language numbers are in `numerals.py` and spelling in `spelling.py`: diacritics are
kept where they tell words apart (ano / año, du / dû) and dropped where recognisers write them at
will (Arabic vowel signs, Russian ё and stress, Italian è / é).
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import regex
from rapidfuzz.distance import Levenshtein

from gpa.curation.text.english import normalise_english
from gpa.curation.text.numerals import fold_numerals, mark_ordinals
from gpa.curation.text.spelling import fold_spelling

# Raised, with ConsensusStage.version, when other texts agree: early exit rests on it too.
UNITS_VERSION = 3
# One unit each: scripts whose words are not, or not reliably, set off by spaces.
_CHARACTER = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Myanmar}\p{Khmer}\p{Tibetan}]"
)
# The prolonged sound mark (ー) belongs to no one script, but stands among kana as their unit.
_UNIT = regex.compile(
    rf"(?:{_CHARACTER}|ー)[\p{{M}}]*|(?:(?!{_CHARACTER}|ー)[\p{{L}}\p{{M}}\p{{N}}])+"
)
_CHARACTER_UNIT = regex.compile(rf"{_CHARACTER}|ー")
# What recognisers write for sounds that are no words: "[music]", "<noise>", "♪".
_ANNOTATION = regex.compile(r"\[[^\[\]]*\]|<[^<>]*>|[♪♫]")
_BEFORE_FRACTION = regex.compile(r"(?<=\d)(?=[¼½¾])")
_INVISIBLE = regex.compile(r"\p{Cf}")
_APOSTROPHES = dict.fromkeys(map(ord, "’‘ʼ`´"), "'")
# What can be taken out of written text: one character of a script as above or a stretch between
# spaces, with the marks that follow it.
_ATOM = regex.compile(
    rf"\s*(?:{_CHARACTER}|ー)[\p{{M}}]*(?:(?!{_CHARACTER}|ー)[^\s\p{{L}}\p{{N}}])*"
    rf"|\s*(?:(?!{_CHARACTER}|ー)\S)+"
)


def primary_language(code: str) -> str:
    """The ISO 639 code alone, lower-case: "zh" of "zh-TW" or "ZH_hant"."""
    return regex.split("[-_]", code.strip().lower())[0]


@lru_cache(maxsize=65536)
def units(text: str, language: str) -> tuple[str, ...]:
    """Normalised words and characters of `text`, a recogniser's output in `language` (ISO 639-1).

    Empty for silence, punctuation alone, annotations like "[music]", and English fillers alone.
    """
    return tuple(_UNIT.findall(_normalise(text, language)))


def is_character(unit: str) -> bool:
    """Whether a unit is a character of a script without spaces, not a word."""
    return _CHARACTER_UNIT.match(unit) is not None


def _normalise(text: str, language: str) -> str:
    # Before NFKC, which makes "2½" "21⁄2".
    text = _BEFORE_FRACTION.sub(" ", _ANNOTATION.sub(" ", text))
    text = unicodedata.normalize("NFKC", text)
    # Joiners, soft hyphens and direction marks are invisible and inaudible.
    text = _INVISIBLE.sub("", text)
    if language == "en":
        return normalise_english(text)
    text = fold_spelling(_lower(mark_ordinals(text, language), language), language)
    # Folded again after numerals, which the libraries write with their own spelling.
    return fold_spelling(fold_numerals(text, language).casefold(), language)


def _lower(text: str, language: str) -> str:
    if language == "tr":  # dotless I, dotted İ
        text = text.replace("I", "ı").replace("İ", "i")
    return text.casefold().translate(_APOSTROPHES)


@dataclass(frozen=True)
class Piece:
    """The shortest stretch of written text that has units of its own.

    Mostly one word and its marks, one unit; "I'm" is one piece of two units, "twenty one" one piece
    of one. `written` is as in the text, without outer spaces; `space_before` says whether a space
    goes in front of it when it follows another piece.
    """

    units: tuple[str, ...]
    written: str
    space_before: bool


def pieces(text: str, language: str) -> list[Piece]:
    """Cut written text where its units can be cut.

    The pieces' units joined are `units(text, language)`; their written forms joined are `text`,
    up to spaces. Words without units (fillers, lone marks) stay with the piece before them.
    """
    atoms = [found.group() for found in _ATOM.finditer(text)]
    whole = units(text, language)
    if not whole:
        return []
    alone: list[str] = []
    ends = []  # how many units the atoms up to this one have, each taken alone
    for atom in atoms:
        alone += units(atom, language)
        ends.append(len(alone))
    cut_at = _clean_cuts(alone, whole)

    found: list[Piece] = []
    first_atom = first_unit = 0
    for index, end in enumerate(ends):
        is_last = index == len(atoms) - 1
        # Atoms that follow without units of their own belong to this piece: cut after them.
        if not is_last and (ends[index + 1] == end or end not in cut_at):
            continue
        last_unit = len(whole) if is_last else cut_at[end]
        if last_unit == first_unit and not is_last:
            continue
        own = whole[first_unit:last_unit]
        written = "".join(atoms[first_atom : index + 1])
        if own:
            space = written[0].isspace() or (not found and not is_character(own[0]))
            found.append(Piece(own, written.strip(), space))
        else:
            found[-1] = Piece(
                found[-1].units, found[-1].written + written.rstrip(), found[-1].space_before
            )
        first_atom, first_unit = index + 1, last_unit
    return found


def _clean_cuts(alone: list[str], whole: tuple[str, ...]) -> dict[int, int]:
    """Positions in `alone` where both sequences can be cut, with the position in `whole`.

    Inside a stretch where atoms taken alone and the whole text normalise differently ("twenty",
    "one" against "21") there is no clean cut.
    """
    cuts: dict[int, int] = {}
    for block in Levenshtein.opcodes(alone, whole):
        if block.tag == "equal":
            for step in range(block.src_end - block.src_start + 1):
                cuts.setdefault(block.src_start + step, block.dest_start + step)
    return cuts
