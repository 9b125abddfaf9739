"""Spelling variants that sound alike, language by language. For scoring only (see `units.py`).

A rule stands here where recognisers write one spoken word in several ways and a listener could not
tell which. Some rules join words that differ (Arabic علي and على, Hindi राज and राज़): recognisers
mix these up in writing, so the difference says nothing about what was heard.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from functools import cache

import regex
from opencc import OpenCC

# Patterns in order, each with what takes its place.
Rules = tuple[tuple[str, str | Callable[[regex.Match[str]], str]], ...]

# Characters, by language (ISO 639-1), of lower-case NFKC text.
_CHARACTERS: dict[str, Mapping[int, int | str | None]] = {
    # One alef, one yeh, one hamza; no vowel signs, no tatweel; signs of numbers as elsewhere.
    "ar": str.maketrans("أإآٱىةکیؤئ٫٬٪", "اااايهكيءء.,%", "ـ\u0670")
    | dict.fromkeys(range(0x64B, 0x653)),
    "bg": str.maketrans("ѝ", "и", "\u0301"),
    # Arabic kaf and yeh, no vowel signs.
    "fa": str.maketrans("كيىةأإۀؤ٫٬٪", "کییهااهو.,%", "ـ\u0670\u0654")
    | dict.fromkeys(range(0x64B, 0x653)),
    "fr": {ord("œ"): "oe", ord("æ"): "ae"},
    # No vowel points and no accents of the Bible.
    "he": dict.fromkeys((*range(0x591, 0x5BE), 0x5BF, 0x5C1, 0x5C2, 0x5C4, 0x5C5, 0x5C7)),
    # One nasal sign, no nukta.
    "hi": str.maketrans("ँ", "ं", "़"),
    # Which accent stands where is taught, not heard.
    "it": str.maketrans("áéíóú", "àèìòù"),
    # Katakana as hiragana, which sounds the same; small ka and ke of counters are said か.
    "ja": {katakana: katakana - 0x60 for katakana in range(0x30A1, 0x30F5)}
    | str.maketrans("ヵヶ〇", "かか零"),
    "ko": dict.fromkeys(range(0x1100, 0x1200)),  # letters alone, as in ㅋㅋ, are no syllables
    "pt": str.maketrans("ü", "u"),  # before the reform of 1990: freqüente
    "ro": str.maketrans("şţ", "șț"),  # cedilla for comma
    "ru": str.maketrans("ё", "е", "\u0301"),
    "uk": str.maketrans("", "", "\u0301'’ʼ"),  # п'ять
    "vi": str.maketrans("ð", "đ"),
    # Feminine and telephone forms, and what OpenCC leaves as both scripts have it.
    "zh": str.maketrans("两〇幺妳著", "二零一你着") | {ord("廿"): "二十", ord("卅"): "三十"},
}  # fmt: skip

_LATIN_LOOK_ALIKES = {
    language: str.maketrans("aceopxyk" + more, "асеорхук" + own)
    for language, more, own in (("bg", "", ""), ("ru", "", ""), ("uk", "i", "і"))
}
# Vietnamese vowels by tone, in the order of _TONES.
_TONES = ("", "\u0300", "\u0301", "\u0303", "\u0309", "\u0323")


def _toned(vowel: str) -> list[str]:
    return [unicodedata.normalize("NFC", vowel + tone) for tone in _TONES]


# Where the tone of an open syllable is written: hòa, hoà; and i for y: kỹ, kĩ.
_TONE_PLACES = {
    first + vowel: rest + toned
    for rest, vowels in (("o", "ae"), ("u", "y"))
    for vowel in vowels
    for first, toned in zip(_toned(rest)[1:], _toned(vowel)[1:], strict=True)
}
_Y_AS_I = dict(zip(_toned("y"), _toned("i"), strict=True))

_CYRILLIC_WORD = regex.compile(r"[\p{Cyrillic}a-z]*\p{Cyrillic}[\p{Cyrillic}a-z]*")
# Technical writing leaves out the last ー of a longer word: ユーザー, ユーザ.
_LAST_SOUND_MARK = regex.compile(r"(?<=[\u30A1-\u30FAー]{3})ー(?![\u30A1-\u30FAー])")
_PATTERNS: dict[str, Rules] = {
    # "and" is written with the next word, num2words sets it apart; a hundred is مئة or مائة.
    "ar": ((r"(?<!\S)و\s+", "و"), (r"ماء(?=(?:ه|تين|تان)\b)", "مء")),
    "da": ((r"\bf\. ?eks\.", "for eksempel"),),
    "de": (
        (r"\bz\. ?b\.", "zum beispiel"),
        (r"\bd\. ?h\.", "das heisst"),
        (r"\bu\. ?a\.", "unter anderem"),
        (r"\busw\.", "und so weiter"),
        (r"\bbzw\.", "beziehungsweise"),
        (r"\bdr\.", "doktor"),
        (r"\bnr\.", "nummer"),
    ),
    # Accents that the reform of 2010 took away.
    "es": (
        (r"\bsólo\b", "solo"),
        (r"\bé(st[aeo]s?|s[aeo]s?)\b", r"e\1"),
        (r"\baquél", "aquel"),
    ),
    # A nasal before a consonant of its own place may be written as the nasal sign; the glide
    # between two vowels at the end of a word may be left out (गये / गए, नयी / नई).
    "hi": (
        (r"ङ्(?=[क-घ])|ञ्(?=[च-झ])|ण्(?=[ट-ढ])|न्(?=[त-ध])|म्(?=[प-भ])", "ं"),
        (r"(?<=[\p{L}\p{M}])ये(?![\p{L}\p{M}])", "ए"),
        (r"\bछः", "छह"),
        (r"(?<=[\p{L}\p{M}])यी(?![\p{L}\p{M}])", "ई"),
    ),
    "fa": (
        (r"\b(ن?می)\s+(?=\p{L})", r"\1"),  # a prefix and an ending, joined or not
        (r"(?<=\p{L})\s+(ها(?:ی|یی)?)\b", r"\1"),
    ),
    "ja": ((r"(\p{Han})々", r"\1\1"),),
    "sv": ((r"\bt\. ?ex\.", "till exempel"), (r"\bbl\. ?a\.", "bland annat")),
    "th": ((r"เเ", "แ"),),
    "vi": (
        (rf"(?:{'|'.join(_TONE_PLACES)})\b", lambda pair: _TONE_PLACES[pair.group()]),
        (
            rf"\b([hklmst]|qu)([{''.join(_Y_AS_I)}])\b",
            lambda syllable: syllable[1] + _Y_AS_I[syllable[2]],
        ),
    ),
    "nl": ((r"\bbijv\.", "bijvoorbeeld"), (r"\bd\. ?w\. ?z\.", "dat wil zeggen")),
    # Accents that the reform of 1990 took away: idéia, jibóia, vôo, lêem.
    "pt": ((r"éi(?=a)", "ei"), (r"ói(?=a)", "oi"), (r"ôo", "oo"), (r"êe(?=m\b)", "ee")),
    # Degrees below zero are minus.
    "zh": ((r"零下(?=[\d一二三四五六七八九十])", "负"),),
}


def fold_spelling(text: str, language: str) -> str:
    """`text` with each word in one of its spellings; lower-case NFKC text expected.

    Folding twice gives the same as folding once.
    """
    if language in ("zh", "yue"):
        text = _simplified().convert(text)
    if language == "ja":
        text = _LAST_SOUND_MARK.sub("", text)
    text = text.translate(_CHARACTERS.get(language, {}))
    if look_alikes := _LATIN_LOOK_ALIKES.get(language):
        # Latin letters inside a Cyrillic word only look like its own.
        text = _CYRILLIC_WORD.sub(lambda word: word.group().translate(look_alikes), text)
    return apply_rules(_PATTERNS.get(language, ()), text)


def apply_rules(rules: Rules, text: str) -> str:
    """`text` after every rule."""
    for pattern, instead in rules:
        text = _compiled(pattern).sub(instead, text)
    return text


@cache  # the library's own look-up takes longer than most of these searches
def _compiled(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern)


@cache
def _simplified() -> OpenCC:
    return OpenCC("t2s")
