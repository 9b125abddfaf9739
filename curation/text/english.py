"""English in one spelling: Whisper's normaliser, and what it does not know. For scoring only.

The normaliser makes number words digits and drops fillers ("um") and British spelling. What it
leaves is money other than $, £ and €, measures, ranges, fractions, scores and initials.
"""

from __future__ import annotations

from copy import copy
from functools import cache

import regex
from num2words import num2words
from whisper_normalizer.english import EnglishTextNormalizer

from gpa.curation.text.signs import fold_names, fold_signs
from gpa.curation.text.spelling import Rules, apply_rules

_MONEY = {"$": "dollars", "£": "pounds", "€": "euros", "¢": "cents", "₹": "rupees", "¥": "yen"}
_MONEY |= {"₽": "rubles", "₩": "won", "₺": "lira", "₪": "shekels", "₫": "dong", "₴": "hryvnias"}
_LARGE = {"k": "thousand", "m": "million", "mn": "million", "bn": "billion", "b": "billion"}
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_DIGIT = rf"(?:\b(?:{'|'.join(_DIGITS)})\b|(?<![\w.,:/$£€-])\d(?![\w:/%-]|[.,]\d))"
# The normaliser knows contractions by "'" alone, and would drop what stands in brackets.
_MARKS = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "(": " ", ")": " "})
_BRACKETS = frozenset("<>[]")
_NUMBER_WORD = regex.compile(r"[a-z]+|\d")


def _fraction(found: regex.Match[str]) -> str:
    """3/4 as "three quarters"; larger than one, as in 24/7, only without its slash."""
    above, below = int(found[1]), int(found[2])
    if not 0 < above < below <= 10:
        return f"{above} {below}"
    part = {2: "half", 4: "quarter"}.get(below) or num2words(below, lang="en", to="ordinal")
    return f"{num2words(above, lang='en')} {part}{'s' if above > 1 else ''}"


def _range(found: regex.Match[str]) -> str:
    """10-20 as "10 to 20"; what does not rise, as a score or a telephone number, as it is."""
    return f"{found[1]} to {found[2]}" if int(found[1]) < int(found[2]) else found.group()


def _money(found: regex.Match[str]) -> str:
    large = _LARGE.get(found["large"] or "", "")
    return f"{found['sign']}{found['amount']} {large} "


def _in_a_row(found: regex.Match[str]) -> str:
    """Digits that follow each other: from three on one number ("nine one one"), two are two.

    In words the normaliser joins them, and in digits it does not.
    """
    said = found.group().replace(",", " ").split()
    if len(said) == 2 and said[1] in _DIGITS:
        return f"{said[0]} {_DIGITS.index(said[1])}"
    return "".join(said) if all(map(str.isdigit, said)) and len(said) > 2 else found.group()


# In order; on lower-case text.
_BEFORE: Rules = (
    (r"\b(?:\p{L}\.){2,}", lambda initials: initials.group().replace(".", "")),  # U.S., p.m.
    (r"\bok\b", "okay"),
    (r"\bno\. ?(?=\d)|#(?=\d)", "number "),
    (r"\be-\s?mail", "email"),
    (r"\bco-(?=\p{L})", "co"),  # co-operate
    (r"\bre-(?=e)|\bpre-(?=e)", lambda prefix: prefix.group()[:-1]),
    (r"&", " and "),
    (r"(?<=\d)\s*\+\s*(?=\d)", " plus "),
    (r"(?<=\d)\s*=\s*(?=\d)", " equals "),
    (r"(?<=\d)\s?km/?h\b", " kilometers per hour"),
    (r"(?<=\d)\s?mph\b", " miles per hour"),
    (r"°\s?c\b", " degrees celsius"),
    (r"°\s?f\b", " degrees fahrenheit"),
    (r"°", " degrees"),
    (r"(?P<sign>[$£€₹¥])\s?(?P<amount>\d[\d.,]*)(?P<large>k|m|mn|bn|b)\b", _money),
    (r"\b(\d+)k\b", r"\1 thousand"),
    (
        r"([₹¥₽₩₺₪₫₴])\s?(\d[\d.,]*)((?: (?:hundred|thousand|million|billion))*)",
        lambda said: f"{said[2]}{said[3]} {_MONEY[said[1]]}",
    ),
    (r"(?<=\d) 1[/⁄]2\b", ".5"),
    (r"(?<![\d/⁄.])(\d{1,2})[/⁄](\d{1,2})(?![\d/⁄])", _fraction),
    (r"(?<![\w.,:/-])(\d{1,4})[-–—](\d{1,4})(?![\w:/-]|[.,]\d)", _range),
    (r"(?<![\w.])[-−](?=\d)", "minus "),
    (r"\b(\d{1,2}):00\b", r"\1"),
    (r"\b(\d{1,2}):(\d\d)\b", r"\1\2"),  # "ten thirty" becomes 1030
    (r"\b(\d{1,2}):(\d)\b", r"\1 to \2"),
    (r"(?<!\bhalf )\ba(?= (?:hundred|thousand|million|billion)\b)", "one"),
    (rf"(?<!\b(?:point|double|triple|oh?)\s){_DIGIT}(?:[\s,]+{_DIGIT})+", _in_a_row),
)
# It writes 1 as "one" and other digits as digits, "five dollars" as "$5" and "minus five" as "-5".
_AFTER: Rules = (
    (r"\bone\b", "1"),
    (r"([$£€¢])(\d[\d.]*)", lambda said: f"{said[2]} {_MONEY[said[1]]}"),
    (r"(?<!\S)-(?=\d)", "minus "),
    ("%", " percent "),
)


def normalise_english(text: str) -> str:
    """NFKC text in one spelling; what is left to drop are marks."""
    text = apply_rules(_BEFORE, text.casefold().translate(_MARKS))
    text = apply_rules(_AFTER, whisper_for(text)(text))
    return fold_signs(fold_names(text, "en"), "en")


def whisper_for(text: str) -> EnglishTextNormalizer:
    """The normaliser, without those of its steps that would find nothing in the text."""
    whisper = _whisper()
    # Of these it drops some from inside words, and what is left may be a word that it knows.
    if not text.isascii() or not _BRACKETS.isdisjoint(text):
        return whisper
    lean = copy(whisper)
    lean.replacers = {
        pattern: instead
        for pattern, instead in whisper.replacers.items()
        if pattern.replace(r"\b", "") in text
    }
    if _number_words().isdisjoint(_NUMBER_WORD.findall(text)):
        lean.standardize_numbers = str
    return lean


@cache
def _number_words() -> frozenset[str]:
    """Digits, and words that change something alone or beside each other."""
    known = _whisper().standardize_numbers.words - {"and", "per"}
    return frozenset({*known, "half", *"0123456789"})


@cache
def _whisper() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()
