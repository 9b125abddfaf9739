"""Signs and names of what numbers count: per cent, money and measures, in one spelling.

"20 %" and "20 procent", "5 km" and "5 kilomètres": each becomes the code of the thing. The names, in
all the forms that numbers ask for, and the native abbreviations come from CLDR (`babel`).
"""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path
from typing import Literal

import regex
from babel import UnknownLocaleError
from babel.numbers import get_currency_name
from babel.units import format_unit

from gpa.curation.text.number_lexicon import can_read, word_between
from gpa.curation.text.spelling import fold_spelling
from gpa.runtime.config import read_yaml

# Our code, CLDR's unit, and the symbols that every language writes behind a number.
_MEASURES = {
    "percent": ("concentr-percent", "%"),
    "degree": ("temperature-celsius", "°c"),
    "km": ("length-kilometer", "km"),
    "m": ("length-meter", "m"),
    "cm": ("length-centimeter", "cm"),
    "mm": ("length-millimeter", "mm"),
    "kg": ("mass-kilogram", "kg"),
    "g": ("mass-gram", "g"),
    "kmh": ("speed-kilometer-per-hour", "km/h"),
    "angle": ("angle-degree", "°"),
}
# Degrees of an angle and of Celsius are mostly said alike.
_SAME_CODE = {"angle": "degree"}
# Our code: the currency, another one whose name has the same noun ("доллар США", "австралийский
# доллар"), and its signs.
_MONEY = {
    "usd": ("USD", "AUD", "$"),
    "eur": ("EUR", "EUR", "€"),
    "gbp": ("GBP", "EGP", "£"),
    "inr": ("INR", "PKR", "₹"),
    "rub": ("RUB", "BYN", "₽"),
    "krona": ("SEK", "NOK", "kr"),
}
# A word that is something else where nobody pays in crowns.
_PAID_IN = {"krona": frozenset({"cs", "da", "no", "sv"})}
# Swahili puts the noun before its number, and "of" after the noun.
_NOUN_FIRST = frozenset({"sw"})
_PARTICLES = frozenset({"ya", "za"})
# Numbers of every grammatical kind, for CLDR's plural rules.
_COUNTS = (0, 1, 2, 3, 5, 11, 21, 100, 1.5)
# Neither a hyphen (GPT-4) nor a dash between numbers (10-20).
_MINUS = regex.compile(r"(?<![\d.,)\p{L}\p{M}])[-−](?=\d)")
_AMOUNT = r"\d(?:[\d.,]*\d)?"


def fold_names(text: str, language: str) -> str:
    """`text` with the names of signs and measures as their codes, before its numbers are read.

    Lower-case text after `fold_spelling` expected. "minus" and "point" are codes too.
    """
    pattern, codes = _names(language)
    text = _MINUS.sub(" minus ", text)
    return pattern.sub(lambda found: f" {codes[found.group()]} ", text)


def fold_signs(text: str, language: str) -> str:
    """`text` with signs and abbreviations beside its digits as codes, each behind its number."""
    before, behind, codes = _signs(language)
    text = before.sub(lambda found: f"{found['amount']} {codes[found['sign']]} ", text)
    return behind.sub(lambda found: f" {codes[found.group().strip()]} ", text)


def _alternatives(words: list[str]) -> str:
    return "|".join(map(regex.escape, sorted(words, key=len, reverse=True)))


def _fold(name: str, language: str) -> str:
    name = regex.sub(r"\p{Cf}", "", unicodedata.normalize("NFKC", name)).casefold()
    return " ".join(fold_spelling(name, language).split())


@cache
def _also() -> dict[str, dict[str, list[str]]]:
    """Names by language and code, beside CLDR's."""
    return read_yaml(Path(__file__).with_name("signs.yaml"))


@cache
def _names(language: str) -> tuple[regex.Pattern[str], dict[str, str]]:
    """Names, with the pattern that finds them as whole words."""
    names: dict[str, str] = {}
    for code, (unit, _) in _MEASURES.items():
        for name in _measure(unit, "long", language):
            if not name.startswith("^"):
                names.setdefault(_fold(name, language), _SAME_CODE.get(code, code))
    for code, (currency, sibling, _) in _MONEY.items():
        if language in _PAID_IN.get(code, {language}):
            for name in _noun(currency, sibling, language):
                if not name.startswith("^"):
                    names.setdefault(_fold(name, language), code)
    for code, number, parts in (("minus", -5, (5,)), ("point", 3.5, (3, 5))):
        names.setdefault(_fold(word_between(number, parts, language), language), code)
    for code, listed in _also().get(language, {}).items():
        for name in listed:
            if len(name) > 2 and not name.startswith("^"):
                names[_fold(name, language)] = code
    names.pop("", None)
    if not can_read(language):  # who reads the numbers reads the point
        names = {name: code for name, code in names.items() if code != "point"}
    found = [name for name in names if regex.search(r"\p{L}", name)]
    pattern = rf"(?<![\p{{L}}\p{{M}}])(?:{_alternatives(found)})(?![\p{{L}}\p{{M}}])"
    return regex.compile(pattern if found else r"(?!)"), names


@cache
def _signs(language: str) -> tuple[regex.Pattern[str], regex.Pattern[str], dict[str, str]]:
    """Signs before a number, with it; signs and abbreviations behind one; what each means."""
    codes: dict[str, str] = {}
    front: list[str] = ["%"] if language == "tr" else []
    listed = [
        (name, code)
        for code, names in _also().get(language, {}).items()
        for name in names
        if code not in ("point", "minus")
    ]
    for code, (unit, symbol) in _MEASURES.items():
        lengths: tuple[Literal["short", "long"], ...] = ("short", "long")
        for length in lengths:
            for name in (symbol, *_measure(unit, length, language)):
                if length == "short" or name.startswith("^"):
                    listed.append((name, _SAME_CODE.get(code, code)))
    for code, (currency, sibling, sign) in _MONEY.items():
        listed.append((sign, code))
        nouns = _noun(currency, sibling, language)
        listed += [(noun, code) for noun in nouns if noun.startswith("^")]
    for name, code in listed:
        is_in_front = name.startswith("^")
        name = _fold(name.removeprefix("^"), language)
        if name:
            codes.setdefault(name, code)
            if is_in_front:
                front.append(name)
    front += [name for name in codes if not regex.search(r"[%°/]", name) and len(name) < 4]
    amount = rf"(?P<amount>{_AMOUNT})"
    before = rf"(?<![\p{{L}}\p{{M}}])(?P<sign>{_alternatives(front)})\.?\s*{amount}"
    behind = rf"(?<=\d)\s*(?:{_alternatives(list(codes))})(?![\p{{L}}\p{{M}}])"
    return regex.compile(before), regex.compile(behind), codes


def _measure(unit: str, length: Literal["short", "long"], language: str) -> set[str]:
    """A unit's names or abbreviations in all its forms; "^" says that it stands before numbers."""
    try:
        said = {format_unit(count, unit, length, locale=language) for count in _COUNTS}
    except (UnknownLocaleError, ValueError):
        return set()
    names = set()
    for each in said:
        name = regex.sub(r"\d+(?:[.,٫]\d+)?", "", each).strip()
        if name != each:  # some forms need no digit: "two metres" is one word
            names.add(name if regex.match(r"\d", each) else f"^{name}")
    return names


def _noun(currency: str, sibling: str, language: str) -> set[str]:
    """The noun of a currency's name in all its forms: the words that its sibling's name shares."""
    nouns = set()
    for count in _COUNTS:
        try:
            words, others = (
                regex.split(r"[\s-]+", get_currency_name(code, count, locale=language))
                for code in (currency, sibling)
            )
        except (UnknownLocaleError, ValueError):
            return set()
        shared = [word for word in words if word in others and word not in _PARTICLES]
        if shared:
            nouns.add(("^" if language in _NOUN_FIRST else "") + " ".join(shared))
    return nouns
