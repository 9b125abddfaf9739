"""English in one spelling: Whisper's normaliser, and what it does not know. For scoring only.

The normaliser makes number words digits and drops fillers ("um") and British spelling. What it
leaves is money other than $, £ and €, measures, ranges, fractions, scores and initials.
"""

from __future__ import annotations

from functools import cache

import regex
from num2words import num2words
from whisper_normalizer.english import EnglishTextNormalizer

from gpa.curation.text.signs import fold_names, fold_signs
from gpa.curation.text.spelling import Rules, apply

_MONEY = {"$": "dollars", "£": "pounds", "€": "euros", "¢": "cents", "₹": "rupees", "¥": "yen"}
_MONEY |= {"₽": "rubles", "₩": "won", "₺": "lira", "₪": "shekels", "₫": "dong", "₴": "hryvnias"}
_LARGE = {"k": "thousand", "m": "million", "mn": "million", "bn": "billion", "b": "billion"}
_NORMALISED_MONEY = regex.compile(r"([$£€¢])(\d[\d.]*)")


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
)


def normalise_english(text: str) -> str:
    """NFKC text in one spelling; what is left to drop are marks."""
    # The normaliser knows contractions by "'" alone, and would drop what stands in brackets.
    text = text.casefold().translate(str.maketrans("’‘ʼ()", "'''  "))
    text = _whisper()(apply(_BEFORE, text))
    # It writes 1 as "one" and other digits as digits, "five dollars" as "$5" and "minus five" as
    # "-5".
    text = regex.sub(r"\bone\b", "1", text)
    text = _NORMALISED_MONEY.sub(lambda said: f"{said[2]} {_MONEY[said[1]]}", text)
    text = regex.sub(r"(?<!\S)-(?=\d)", "minus ", text)
    return fold_signs(fold_names(text.replace("%", " percent "), "en"), "en")


@cache
def _whisper() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()
