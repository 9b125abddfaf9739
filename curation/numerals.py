"""Numbers in one spelling, so that "21" and "twenty one" agree.

Each language goes the way in which its numbers are least ambiguous. English is made digits by
Whisper's normaliser (see `text.py`). German, French, Spanish, Italian, Portuguese and Dutch are made
digits by `text2num`, which reads compounds ("einundzwanzig") and spoken years. All others are made
words: Chinese here, Hindi by `indic_numtowords`, the rest by `num2words`. What one number may be
called beside its first name (native Korean numerals, inflected Russian ones) stays a difference.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import regex
from indic_numtowords import num2words as indic_words
from num2words import CONVERTER_CLASSES, num2words
from text_to_num import alpha2digit

# Languages whose number words `text2num` turns into digits.
_TO_DIGITS = frozenset({"de", "fr", "es", "it", "pt", "nl"})

# What stands between groups of three digits: "2.000", "2 000"; elsewhere "2,000".
_GROUP_MARK = dict.fromkeys(("de", "es", "it", "pt", "nl", "id", "tr", "da"), ".") | dict.fromkeys(
    ("fr", "ru", "uk", "pl", "cs", "sv", "no", "fi"), " "
)
_GROUPED = {
    ".": regex.compile(r"(?<!\d)\d{1,3}(?:\.\d{3})+(?!\d)"),
    " ": regex.compile(r"(?<!\d)\d{1,3}(?: \d{3})+(?!\d)"),
    # Groups of two are Indian: 1,00,000.
    ",": regex.compile(r"(?<!\d)\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)"),
}

# How a sign is spoken after its number.
_SIGNS = {
    "de": {"%": "prozent", "€": "euro", "$": "dollar", "£": "pfund"},
    "fr": {"%": "pour cent", "€": "euros", "$": "dollars", "£": "livres"},
    "es": {"%": "por ciento", "€": "euros", "$": "dólares", "£": "libras"},
    "it": {"%": "per cento", "€": "euro", "$": "dollari", "£": "sterline"},
    "pt": {"%": "por cento", "€": "euros", "$": "dólares", "£": "libras"},
    "nl": {"%": "procent", "€": "euro", "$": "dollar", "£": "pond"},
    "ru": {"%": "процентов", "€": "евро", "$": "долларов", "₽": "рублей"},
    "ar": {"%": "بالمئة", "$": "دولار", "€": "يورو"},
    "hi": {"%": "प्रतिशत", "₹": "रुपये", "$": "डॉलर"},
    "zh": {"$": "美元", "€": "欧元", "¥": "元", "£": "英镑"},
    "ja": {"%": "パーセント", "$": "ドル", "€": "ユーロ", "¥": "円"},
    "ko": {"%": "퍼센트", "$": "달러", "€": "유로", "₩": "원"},
}
_SIGN_BEFORE = regex.compile(r"([$€£¥₹₽₩])\s?(\d[\d.,]*\d|\d)")
_NUMBER = regex.compile(r"\d+(?:[.,]\d+)*")
_SPOKEN_POINT = {"zh": "点", "ja": "点", "ko": "점"}


def fold_numerals(text: str, language: str) -> str:
    """`text` with every number in its language's one spelling; lower-case NFKC text expected."""
    text = "".join(_ascii_digit(character) for character in text)
    text = _GROUPED[_GROUP_MARK.get(language, ",")].sub(
        lambda found: regex.sub(r"\D", "", found.group()), text
    )
    text = _speak_signs(text, language)
    if language in _TO_DIGITS:
        # Threshold 0: a lone "un" is made a digit too, alike on both sides of a comparison.
        return alpha2digit(text, language, 0)
    if language == "zh":
        # Years are read digit by digit, and a percentage has its sign in front.
        text = regex.sub(
            r"\d{4}(?=年)", lambda found: _digit_by_digit(found.group(), language), text
        )
        text = regex.sub(r"(\d+(?:\.\d+)?)%", r"百分之\1", text)
    return _NUMBER.sub(lambda found: _spoken(found.group(), language), text)


def _ascii_digit(character: str) -> str:
    """The ASCII form of a decimal digit of any script; anything else as it is."""
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)


def _speak_signs(text: str, language: str) -> str:
    """Signs as words, after their number."""
    signs = _SIGNS.get(language)
    if signs is None:
        return text
    text = _SIGN_BEFORE.sub(r"\2 \1", text)
    return "".join(f" {signs[sign]} " if sign in signs else sign for sign in text)


def _spoken(number: str, language: str) -> str:
    """Digits, possibly with decimals, as words set off by spaces."""
    whole, *decimals = regex.split("[.,]", number)
    if (whole.startswith("0") and len(whole) > 1) or len(whole) > 12:
        words = _digit_by_digit(whole, language)
    else:
        words = _cardinal(int(whole), language)
    point = _SPOKEN_POINT.get(language)
    for part in decimals:
        words += (
            f" {point} {_digit_by_digit(part, language)}"
            if point
            else f" {_spoken(part, language)}"
        )
    return f" {words} "


def _digit_by_digit(digits: str, language: str) -> str:
    return " ".join(_cardinal(int(digit), language) for digit in digits)


@lru_cache(maxsize=4096)
def _cardinal(value: int, language: str) -> str:
    """A whole number in words; digits where no library knows the language."""
    if language == "zh":
        return chinese_cardinal(value)
    if language == "hi":
        return str(indic_words(value, lang="hi"))
    if language in CONVERTER_CLASSES:
        return str(num2words(value, lang=language))
    return str(value)


def chinese_cardinal(value: int) -> str:
    """A whole number in simplified Chinese, as it is said: 十, 一百零五, 二千, 十万."""
    said = _chinese(value)
    return said[1:] if said.startswith("一十") else said


def _chinese(value: int) -> str:
    if value < 10:
        return "零一二三四五六七八九"[value]
    sizes = ((10**8, "亿"), (10**4, "万"), (1000, "千"), (100, "百"), (10, "十"))
    size, unit = next(each for each in sizes if value >= each[0])
    head, rest = divmod(value, size)
    gap = "零" if 0 < rest < size // 10 else ""
    return _chinese(head) + unit + (gap + _chinese(rest) if rest else "")
