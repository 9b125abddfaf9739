"""What a reader says for a written word: an aligner knows "twenty one", never "21".

Each written word becomes one or more spoken words, in lower case; an aligner then times the
spoken words, and `timed_words` maps those times back, one span for each written word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import regex
from num2words import CONVERTER_CLASSES, num2words

from gpa.curation.models.protocols import Word

CURRENCIES = {"$": "dollars", "£": "pounds", "€": "euros", "¥": "yen"}
SYMBOLS = {"&": "and", "%": "percent", "+": "plus", "=": "equals", "@": "at", "#": "number"}

_PIECE = regex.compile(
    r"""(?P<money>[$£€¥])?(?P<number>\d+(?:,\d{3})*(?:\.\d+)?)(?P<ordinal>st|nd|rd|th)?(?P<plural>'?s\b)?
      | (?P<letters>(?:\p{L}\.){2,}|[\p{L}\p{M}']+\.?)
      | (?P<symbol>[&%+=@\#])""",
    regex.VERBOSE | regex.IGNORECASE,
)


def spoken_words(written: str, language: str) -> list[str]:
    """Spoken words of one written word: "21st" gives twenty, first; "AT&T" gives at, and, t.

    Symbols and years are read out in English only; in other languages digits are, where
    num2words speaks them. Empty where the word holds nothing that can be said.
    """
    text = unicodedata.normalize("NFKC", written).replace("’", "'")
    spoken: list[str] = []
    for piece in _PIECE.finditer(text):
        if piece["number"]:
            spoken += _number(piece, language)
        elif piece["letters"]:
            spoken.append(piece["letters"].lower())
        elif language == "en":
            spoken.append(SYMBOLS[piece["symbol"]])
    return [word for word in spoken if word.strip("'.")]


def _number(piece: regex.Match[str], language: str) -> list[str]:
    """Spoken words of a number with its currency sign, ordinal ending or plural s."""
    if language not in CONVERTER_CLASSES:
        return [piece["number"]]
    digits = piece["number"].replace(",", "")
    if language != "en":
        return _split(num2words(digits, lang=language))
    if piece["ordinal"]:
        return _split(num2words(digits, to="ordinal"))
    if len(digits) > 1 and digits.startswith("0"):
        # Read digit by digit: 007, or the minutes of 10:05.
        said = [word for digit in digits for word in _split(num2words(digit))]
    elif _is_year(piece):
        said = _split(num2words(digits, to="year"))
    else:
        said = _split(num2words(digits))
    if piece["money"]:
        said.append(CURRENCIES[piece["money"]])
    if piece["plural"]:
        last = said[-1]
        said[-1] = last[:-1] + "ies" if last.endswith("y") else last + "s"
    return said


def _is_year(piece: regex.Match[str]) -> bool:
    """True for 1100 to 2099 without a comma or a currency: those are mostly years."""
    number = piece["number"]
    return not piece["money"] and number.isdigit() and 1100 <= int(number) <= 2099


def _split(said: str) -> list[str]:
    return regex.findall(r"[\p{L}\p{M}']+", said.lower())


def timed_words(
    written: Sequence[str], spoken: Sequence[Sequence[str]], times: Sequence[tuple[float, float]]
) -> tuple[Word, ...]:
    """One Word a written word, from the first of its spoken words to the end of the last.

    `times` holds (start_s, end_s) of every spoken word in order. Raises ValueError where their
    number is not that of the spoken words.
    """
    if len(times) != sum(len(words) for words in spoken):
        raise ValueError(f"{len(times)} words were timed, {sum(map(len, spoken))} are spoken")
    found = []
    position = 0
    for word, parts in zip(written, spoken, strict=True):
        own = times[position : position + len(parts)]
        position += len(parts)
        found.append(Word(word, own[0][0], own[-1][1]))
    return tuple(found)
