"""Numbers in one spelling, so that "21" and "twenty one" agree.

Each language goes the way in which its numbers are least ambiguous. English is made digits by
Whisper's normaliser (see `english.py`). German, French, Spanish, Italian, Portuguese and Dutch are
made digits by `text2num`, which reads compounds ("einundzwanzig") and spoken years. Chinese,
Japanese, Korean and Thai, which put no spaces around numbers, are made words: Chinese here, the rest
by `num2words`; Korean counts things (개, 명, 살, ...) in its native numerals. All other languages of
CLDR are made digits by `number_words.py`. What one number may be called beside its names there
(Chinese telephone numbers, halves and quarters) stays a difference.
"""

from __future__ import annotations

import unicodedata
from decimal import Decimal
from functools import cache, lru_cache

import regex
from babel import UnknownLocaleError
from babel.numbers import get_decimal_symbol
from num2words import CONVERTER_CLASSES, num2words
from text_to_num import alpha2digit

from gpa.curation.text.number_lexicon import can_read
from gpa.curation.text.number_words import read_numbers
from gpa.curation.text.signs import fold_names, fold_signs
from gpa.curation.text.spelling import Rules, apply_rules

# Languages whose number words `text2num` turns into digits.
_TO_DIGITS = frozenset({"de", "fr", "es", "it", "pt", "nl"})
# Languages that put no spaces around number words.
_TO_WORDS = frozenset({"zh", "yue", "ja", "ko", "th"})

# Three digits after each mark; groups of two are Indian: 1,00,000.
_GROUPED = {
    decimal: regex.compile(
        rf"(?<![\d.,])\d{{1,3}}(?:(?P<mark>[{marks}])\d{{3}})(?:(?P=mark)\d{{3}})*(?!\d|[.,]\d{{3}}\b)"
        rf"|(?<![\d.,])\d{{1,2}}(?:[{marks}]\d{{2}})+[{marks}]\d{{3}}(?!\d)"
    )
    for decimal, marks in ((",", ". '"), (".", ", '"))
}
# Not "1,5" of "1,5,7" or "1.5.2024".
_DECIMAL = regex.compile(r"(?<![\d.,])(\d+)[.,](\d+)(?![.,]?\d)")
_SPOKEN_DECIMAL = regex.compile(r"(\d+)\s+point\s+(\d+(?:\s+\d(?!\d))*)(?!\d)")

# How a sign is spoken after its number, in the languages without spaces.
_SIGNS = {
    "zh": {"$": "美元", "€": "欧元", "¥": "元", "£": "英镑", "°": "度"},
    "ja": {"%": "パーセント", "$": "ドル", "€": "ユーロ", "¥": "円", "°": "度"},
    "ko": {"%": "퍼센트", "$": "달러", "€": "유로", "₩": "원", "°": "도"},
    "th": {"%": "เปอร์เซ็นต์", "$": "ดอลลาร์", "€": "ยูโร", "฿": "บาท", "°": "องศา"},
}
# And before it.
_SPOKEN_MINUS = {"zh": "负", "ja": "マイナス", "ko": "마이너스", "th": "ลบ"}
# Neither a hyphen (GPT-4) nor a dash between numbers (10-20).
_MINUS = regex.compile(r"(?<![\d.,)\p{Latin}])[-−](?=\d)")
_SIGN_BEFORE = regex.compile(r"([$€£¥₩฿])\s?(\d[\d.,]*\d|\d)")
_OTHER_DIGITS = regex.compile(r"(?![0-9])\p{Nd}")
_ZEROS_FIRST = regex.compile(r"(?<![\d.,])0\d+")
_NUMBER = regex.compile(r"\d+(?:[.,]\d+)*")
_SPOKEN_POINT = {"zh": "点", "ja": "点", "ko": "점", "th": "จุด"}

# What neither library knows of a language's numbers: patterns before numbers are folded, in order.
_BEFORE: dict[str, Rules] = {
    "de": (
        (r"\beine(?= (?:million|milliarde)\b)", "ein"),
        (r"\b(\d{1,2}):(\d\d) uhr\b", r"\1 uhr \2"),
        (r"\buhr 00\b", "uhr"),
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
    # Years are read digit by digit; a percentage and a fraction begin with the whole; an hour
    # and its minutes.
    "zh": (
        (r"\d{4}(?=年)", lambda year: _digit_by_digit(year.group(), "zh")),
        (r"([\d.零一二三四五六七八九十百千万亿点]+)%", r"百分之\1"),
        (r"(?<!\d)(\d{1,2}):(?:00|([0-5]\d))(?!\d)", r"\1点\2"),
        (r"(?<=[\d零一二三四五六七八九十]点)半", "三十"),
        (r"(?<![\d/])(\d+)/(\d+)(?![\d/])", r"\2分之\1"),
    ),
}
_ORDINAL_ENDING = (r"(\d)\.?(o|a|er)\b", r"\1\2")
# Patterns after numbers are folded: endings of ordinals.
_AFTER: dict[str, Rules] = {
    "es": (_ORDINAL_ENDING,),
    "fr": ((r"(\d)(?:i?ème|eme|è)\b", r"\1e"), (r"(\d)[èe]re\b", r"\1re")),
    "it": (_ORDINAL_ENDING,),
    "pt": (_ORDINAL_ENDING,),
}
# Languages that write 3. and say "third", and whose ordinals `number_words` reads.
_DOT_IS_ORDINAL = frozenset({"da", "fi", "hr", "hu", "no", "pl", "sl", "tr"})
_ORDINAL_DOT = regex.compile(r"(?<=(?<![\d.,])\d{1,3})\.(?=\s+\p{Ll})")
# Written endings of ordinals, of the languages whose ordinals `number_words` reads.
_ORDINALS: dict[str, Rules] = {
    "bg": ((r"(?<=\d)-?(?:ви|ри|ти|ми|ва|ра|та|ма|во|ро|то|мо|ия|ият|ата|ото)\b", "º"),),
    "ca": ((r"(?<=\d)(?:r|n|t|è|a|er)\b", "º"),),
    "el": ((r"(?<=\d)(?:οσ|η|ο|ου|ησ|ον)\b", "º"),),
    "fa": ((r"(?<=\d)\s?(?:م|ام|مین|امین)\b", "º"),),
    "fi": ((r"(?<=\d):\p{L}+", "º"),),
    "hi": ((r"(?<=\d)\s?(?:वां|वीं|वें|वाँ|रा|री|रे|ला|ली|ले|था|थी|थे)(?![\p{L}\p{M}])", "º"),),
    "hu": ((r"(?<=\d)-(?:ik|odik|edik|ödik|adik)\b", "º"),),
    "id": ((r"\bke-(\d+)\b", r"\1º"),),
    "pl": ((r"(?<=\d)-?(?:szy|gi|ci|ty|my|sza|ga|cia|ta|ma|go|ego|ej)\b", "º"),),
    "ro": ((r"\b(?:al )?(\d+)-lea\b|\ba (\d+)-a\b", r"\1\2º"),),
    "ru": (
        (r"\bno(?= ?\d)", "номер "),
        (r"(?<=\d)-?(?:ый|ий|ой|й|ая|я|ое|е|ого|го|ому|му|ым|м|ые|ых|ю|ую)\b", "º"),
    ),
    "sv": ((r"(?<=\d):(?:e|a)\b", "º"),),
    "sw": ((r"\bwa (\d+)\b", r"\1º"),),
    "ta": ((r"(?<=\d)-?\s?(?:வது|ஆவது|ம்|ஆம்)(?![\p{L}\p{M}])", "º"),),
    "tr": ((r"(?<=\d)'?(?:inci|ıncı|uncu|üncü|nci|ncı|ncu|ncü)\b", "º"),),
    "vi": ((r"\bthứ (\d+)\b", r"\1º"),),
    "uk": ((r"(?<=\d)-?(?:ий|ій|й|а|я|е|є|ого|го|ому|му|ої|ї|у|ю)\b", "º"),),
}
# "2 1000000", which `text2num` makes of "2 Millionen".
_MULTIPLE = regex.compile(r"(?<![\d.,])(\d{1,3}(?:[.,]\d+)?) (1000(?:000(?:000)?)?)(?!\d)")


def fold_numerals(text: str, language: str) -> str:
    """`text` with every number in its language's one spelling; lower-case NFKC text expected."""
    text = _OTHER_DIGITS.sub(lambda digit: str(unicodedata.decimal(digit.group())), text)
    text = _GROUPED[_decimal_mark(language)].sub(
        lambda found: "".join(filter(str.isdigit, found.group())), text
    )
    text = apply_rules(_BEFORE.get(language, ()), text)
    if language in _TO_WORDS:
        text = _speak_signs(text, language)
        return _NUMBER.sub(lambda found: _spoken(found.group(), language), text)
    text = fold_names(text, language)
    if language in _TO_DIGITS:
        # Threshold 0: a lone "un" is made a digit too, alike on both sides of a comparison.
        text = unicodedata.normalize("NFKC", alpha2digit(text, language, 0))
        text = _MULTIPLE.sub(_multiplied, text)
    elif can_read(language):
        text = _with_points(
            read_numbers(apply_rules(_ORDINALS.get(language, ()), text), language), language
        )
    return apply_rules(_AFTER.get(language, ()), fold_signs(text, language))


def mark_ordinals(text: str, language: str) -> str:
    """`text` with "3." as "3º" where that is an ordinal; must still have its capitals.

    A full stop ends a sentence when a capital, or nothing, follows.
    """
    if language not in _DOT_IS_ORDINAL:
        return text
    return _ORDINAL_DOT.sub("º", text)


def _with_points(text: str, language: str) -> str:
    """Decimals digit by digit behind the word "point", and zeros in front as digits of their own."""
    joined = _SPOKEN_DECIMAL.sub(lambda said: f"{said[1]}.{''.join(said[2].split())}", text)
    if joined != text:  # "2 point 5 million"
        joined = read_numbers(joined, language)
    joined = _DECIMAL.sub(lambda said: f"{said[1]} point {' '.join(said[2])}", joined)
    return _ZEROS_FIRST.sub(lambda digits: " ".join(digits.group()), joined)


@cache
def _decimal_mark(language: str) -> str:
    try:
        return "," if get_decimal_symbol(language) == "," else "."
    except (UnknownLocaleError, ValueError):
        return "."


def _multiplied(found: regex.Match[str]) -> str:
    """The product of both numbers, where it is whole."""
    product = Decimal(found[1].replace(",", ".")) * int(found[2])
    return str(int(product)) if product == int(product) else found.group()


def _speak_signs(text: str, language: str) -> str:
    """Signs as words, minus before its number and the others after it."""
    if language not in _SIGNS:
        return text
    text = _MINUS.sub(f"{_SPOKEN_MINUS[language]} ", text)
    text = _SIGN_BEFORE.sub(r"\2 \1", text).replace("°c", "°")
    return text.translate({ord(sign): f" {said} " for sign, said in _SIGNS[language].items()})


def _spoken(number: str, language: str) -> str:
    """Digits, possibly with decimals, as words set off by spaces."""
    whole, *decimals = number.replace(",", ".").split(".")
    if (whole.startswith("0") and len(whole) > 1) or len(whole) > 12:
        words = _digit_by_digit(whole, language)
    else:
        words = _cardinal(int(whole), language)
    point = _SPOKEN_POINT.get(language)
    for part in decimals:
        said = f"{point} {_digit_by_digit(part, language)}" if point else _spoken(part, language)
        words += f" {said}"
    return f" {words} "


def _digit_by_digit(digits: str, language: str) -> str:
    return " ".join(_cardinal(int(digit), language) for digit in digits)


@lru_cache(maxsize=4096)
def _cardinal(value: int, language: str) -> str:
    """A whole number in words; digits where no library knows the language."""
    if language == "zh":
        return chinese_cardinal(value)
    if language in CONVERTER_CLASSES:
        return str(num2words(value, lang=language))
    return str(value)


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
