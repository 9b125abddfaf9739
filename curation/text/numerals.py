"""Numbers in one spelling, so that "21" and "twenty one" agree.

Each language goes the way in which its numbers are least ambiguous. English is made digits by
Whisper's normaliser (see `units.py`). German, French, Spanish, Italian, Portuguese and Dutch are made
digits by `text2num`, which reads compounds ("einundzwanzig") and spoken years. All others are made
words: Chinese here, Hindi by `indic_numtowords`, the rest by `num2words`. Korean counts things
(개, 명, 살, ...) in its native numerals. What one number may be called beside its first name
(inflected Russian cardinals, Chinese telephone numbers) stays a difference.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from decimal import Decimal
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
    "de": {"%": "prozent", "€": "euro", "$": "dollar", "£": "pfund", "°": "grad"},
    "fr": {"%": "pour cent", "€": "euros", "$": "dollars", "£": "livres", "°": "degrés"},
    "es": {"%": "por ciento", "€": "euros", "$": "dólares", "£": "libras", "°": "grados"},
    "it": {"%": "per cento", "€": "euro", "$": "dollari", "£": "sterline", "°": "gradi"},
    "pt": {"%": "por cento", "€": "euros", "$": "dólares", "£": "libras", "°": "graus"},
    "nl": {"%": "procent", "€": "euro", "$": "dollar", "£": "pond", "°": "graden"},
    "ru": {"%": "процентов", "€": "евро", "$": "долларов", "₽": "рублей", "°": "градусов"},
    "ar": {"%": "بالمئة", "$": "دولار", "€": "يورو", "°": "درجة"},
    "hi": {"%": "प्रतिशत", "₹": "रुपये", "$": "डॉलर", "°": "डिग्री"},
    "zh": {"$": "美元", "€": "欧元", "¥": "元", "£": "英镑", "°": "度"},
    "ja": {"%": "パーセント", "$": "ドル", "€": "ユーロ", "¥": "円", "°": "度"},
    "ko": {"%": "퍼센트", "$": "달러", "€": "유로", "₩": "원", "°": "도"},
}
# And before it.
_SPOKEN_MINUS = (
    {"de": "minus", "fr": "moins", "es": "menos", "it": "meno", "pt": "menos", "nl": "min"}
    | {"ru": "минус", "ar": "سالب", "hi": "माइनस"}
    | {"zh": "负", "ja": "マイナス", "ko": "마이너스"}
)
# Neither a hyphen (GPT-4) nor a dash between numbers (10-20).
_MINUS = regex.compile(r"(?<![\d.,)\p{Latin}\p{Cyrillic}\p{Arabic}\p{Devanagari}])[-−](?=\d)")
_SIGN_BEFORE = regex.compile(r"([$€£¥₹₽₩])\s?(\d[\d.,]*\d|\d)")
_NUMBER = regex.compile(r"\d+(?:[.,]\d+)*")
_SPOKEN_POINT = {"zh": "点", "ja": "点", "ko": "점", "hi": "दशमलव", "ar": "فاصلة"}

_Rules = tuple[tuple[str, str | Callable[[regex.Match[str]], str]], ...]

# What neither library knows of a language's numbers: patterns before numbers are folded, in order.
_BEFORE: dict[str, _Rules] = {
    "de": (
        (r"\beine(?= (?:million|milliarde)\b)", "ein"),
        (r"\b(\d{1,2}):(\d\d) uhr\b", r"\1 uhr \2"),
    ),
    "es": ((r"\bn\.?[o°] ?(?=\d)", "número "), (r"veintiún\b", "veintiuno")),
    "fr": (
        (r"\bn° ?(?=\d)", "numéro "),
        (r"\b(\d{1,2}) ?h ?(\d\d)?\b", r"\1 heures \2"),
    ),
    "it": ((r"trè\b", "tre"), (r"(?<=\d )mila\b", "mille")),
    # Written digit by digit, said as an amount.
    "ja": ((r"[零一二三四五六七八九]{4}(?=年)", lambda year: _han_to_digits(year.group())),),
    "ko": (
        # Hours of the day, and up to twelve of them.
        (r"(?<![\d.])(?:\d|1[0-2])(?=\s?시)", lambda count: korean_count(int(count.group()))),
        (
            r"(?<![\d.])\d{1,2}(?=\s?(?:개(?![월년국])|명|살|마리|잔))",
            lambda count: korean_count(int(count.group())),
        ),
    ),
    "pt": ((r"\br\$ ?(\d[\d.,]*)", r"\1 reais"),),
    "ru": (
        (r"\bno(?= ?\d)", "номер "),
        (r"(\d+)-(й|я|е|го|му|м)\b", lambda said: _russian_ordinal(int(said[1]), said[2])),
    ),
    # Years are read digit by digit; a percentage and a fraction begin with the whole; an hour
    # and its minutes.
    "zh": (
        (r"\d{4}(?=年)", lambda year: _digit_by_digit(year.group(), "zh")),
        (r"([\d.零一二三四五六七八九十百千万亿点]+)%", r"百分之\1"),
        (r"(?<!\d)(\d{1,2}):(?:00|([0-5]\d))(?!\d)", r"\1点\2"),
        (r"(?<![\d/])(\d+)/(\d+)(?![\d/])", r"\2分之\1"),
    ),
}
_ORDINAL_ENDING = (r"(\d)\.?(o|a|er)\b", r"\1\2")
_ONE_COIN = (r"\b1\s+(euro|dollar|dólar|livre|libra)e?s\b", r"1 \1")
# Patterns after numbers are folded: endings of ordinals, a currency's singular, and a one that may
# be left out.
_AFTER: dict[str, _Rules] = {
    "es": (_ORDINAL_ENDING, _ONE_COIN),
    "fr": ((r"(\d)(?:i?ème|eme|è)\b", r"\1e"), (r"(\d)[èe]re\b", r"\1re"), _ONE_COIN),
    "hi": ((r"(?<!\S)एक\s+(?=(?:सौ|हज़?ार)(?!\S))", ""),),
    "it": (_ORDINAL_ENDING,),
    "pt": (_ORDINAL_ENDING, _ONE_COIN),
    "ru": ((r"\bодна (?=тысяча\b)|\bодин (?=миллион\b|миллиард\b)", ""),),
}
# "2 1000000", which `text2num` makes of "2 Millionen".
_MULTIPLE = regex.compile(r"(?<![\d.,])(\d{1,3}(?:[.,]\d+)?) (1000(?:000(?:000)?)?)(?!\d)")


def fold_numerals(text: str, language: str) -> str:
    """`text` with every number in its language's one spelling; lower-case NFKC text expected."""
    text = "".join(_ascii_digit(character) for character in text)
    text = _GROUPED[_GROUP_MARK.get(language, ",")].sub(
        lambda found: regex.sub(r"\D", "", found.group()), text
    )
    text = _speak_signs(_apply(_BEFORE.get(language, ()), text), language)
    if language in _TO_DIGITS:
        # Threshold 0: a lone "un" is made a digit too, alike on both sides of a comparison.
        text = unicodedata.normalize("NFKC", alpha2digit(text, language, 0))
        text = _MULTIPLE.sub(_multiplied, text)
    else:
        text = _NUMBER.sub(lambda found: _spoken(found.group(), language), text)
    return _apply(_AFTER.get(language, ()), text)


def _apply(rules: _Rules, text: str) -> str:
    for pattern, replacement in rules:
        text = regex.sub(pattern, replacement, text)
    return text


def _multiplied(found: regex.Match[str]) -> str:
    """The product of both numbers, where it is whole."""
    product = Decimal(found[1].replace(",", ".")) * int(found[2])
    return str(int(product)) if product == int(product) else found.group()


def _ascii_digit(character: str) -> str:
    """The ASCII form of a decimal digit of any script; anything else as it is."""
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)


def _speak_signs(text: str, language: str) -> str:
    """Signs as words, minus before its number and the others after it."""
    signs = _SIGNS.get(language)
    if signs is None:
        return text
    text = _MINUS.sub(f"{_SPOKEN_MINUS[language]} ", text)
    text = _SIGN_BEFORE.sub(r"\2 \1", text).replace("°c", "°")
    return "".join(f" {signs[sign]} " if sign in signs and sign != "-" else sign for sign in text)


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


def _russian_ordinal(value: int, ending: str) -> str:
    """An ordinal in words, of the case and gender of its written ending: 21-го."""
    case, gender = {
        "й": ("n", "m"),
        "я": ("n", "f"),
        "е": ("n", "n"),
        "го": ("g", "m"),
        "му": ("d", "m"),
        "м": ("p", "m"),
    }[ending]
    return f" {num2words(value, lang='ru', to='ordinal', case=case, gender=gender)} "


def korean_count(value: int) -> str:
    """A number up to 99 as Korean counts things: 한, 스무, 스물한."""
    if value == 20:
        return "스무"
    tens = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
    ones = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
    return (tens[value // 10] + ones[value % 10]) or "영"


def _han_to_digits(numeral: str) -> str:
    return "".join(str("零一二三四五六七八九".index(digit)) for digit in numeral)


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
