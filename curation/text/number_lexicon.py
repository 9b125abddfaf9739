"""What numbers are called in a language, learnt from the libraries that spell them.

CLDR's rules (`unicode_rbnf`), `num2words` and `indic_numtowords` are asked once for the numbers below
a hundred, in each gender and case that they know, and for samples of those above.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import regex
from indic_numtowords import num2words as indic_words
from num2words import CONVERTER_CLASSES, num2words
from unicode_rbnf import RbnfEngine
from unicode_rbnf.engine import FormatPurpose, RbnfError

from gpa.curation.text.spelling import fold_spelling
from gpa.runtime.config import Config, parse_each

# By `text2num`, by Whisper's normaliser, or no words with spaces around them (see `numerals.py`).
_READ_ELSEWHERE = frozenset(
    ("de", "fr", "es", "it", "pt", "nl", "en", "zh", "yue", "ja", "ko", "th")
)
_SCALES = (100, 1000, 10**6, 10**9)
# What is said after a hundred or a thousand, to learn how it is joined to it.
_RESTS = (1, 5, 20, 25, 100, 125)
_INDIC = frozenset({"bn", "hi", "ta"})
# Where tens and units are also said without CLDR's "and" between them.
_WITHOUT_AND = frozenset({"hr"})


class Beside(Config):
    """What no library says of a language's numbers; words with their values."""

    cardinals: dict[str, int] = {}
    scales: dict[str, int] = {}  # how else hundreds and thousands are called
    abbreviated: dict[str, int] = {}  # behind digits
    between: tuple[str, ...] = ()  # hundreds and what follows


@cache
def _beside() -> dict[str, Beside]:
    return parse_each(Beside, Path(__file__).with_name("number_lexicon.yaml"))


_NO_LETTERS = regex.compile(r"[^\p{L}\p{M}]+")
_ACCENTS = regex.compile(r"\p{Mn}")
START = 2  # characters that tell whether a word can begin a number
# Tamil runs "இருபத்து ஐந்து" together as "இருபத்தைந்து".
_TAMIL_JOINS = {
    "ு" + vowel: sign for vowel, sign in zip("அஆஇஈஉஊஎஏஐஒஓ", ["", *"ாிீுூெேைொோ"], strict=True)
}


@dataclass(frozen=True)
class Lexicon:
    """Values of number words, all without spaces."""

    small: dict[str, int]  # below a hundred
    heads: dict[str, int]  # hundreds, thousands, ... as a whole
    open_heads: dict[str, int]  # the same in the form that they have only before more
    scales: dict[str, int]  # what multiplies the number before it
    after_digits: dict[str, int]  # the same in all its forms, of which some are other words
    between: frozenset[str]  # what joins a hundred to what follows
    ordinals: dict[str, int]
    starts: frozenset[str]
    longest: int
    steps: tuple[int, ...]  # what numbers are counted in, the largest first


@cache
def can_read(language: str) -> bool:
    """Whether the libraries spell the numbers of a language, and nothing reads them better."""
    return language not in _READ_ELSEWHERE and (
        language in _cldr_languages() or language in CONVERTER_CLASSES
    )


@cache
def word_between(number: float, parts: tuple[int, ...], language: str) -> str:
    """What CLDR says in `number` beside its `parts`: "komma" of 3.5, "minus" of -5.

    Empty where CLDR has no numbers of the language.
    """
    if language not in _cldr_languages():
        return ""
    said = fold_spelling(_plain(_engine(language).format_number(number).text), language)
    for part in parts:
        for spelled in sorted(_cldr(part, language, FormatPurpose.CARDINAL), key=len, reverse=True):
            said = said.replace(fold_spelling(_plain(spelled), language), " ", 1)
    return said.strip()


@cache
def _cldr_languages() -> frozenset[str]:
    return frozenset(RbnfEngine.get_supported_languages())


@cache
def _engine(language: str) -> RbnfEngine:
    return RbnfEngine.for_language(language)


def _cldr(value: int, language: str, purpose: FormatPurpose) -> set[str]:
    if language not in _cldr_languages():
        return set()
    try:
        return set(_engine(language).format_number(value, purpose).text_by_ruleset.values())
    except (ValueError, RbnfError):  # no rules for ordinals, or none for this number
        return set()


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    return regex.sub(r"\p{Cf}", "", text).replace("’", "'").replace("ʼ", "'")


def letters(spelled: str, language: str) -> str:
    """Letters alone; of Greek without accents, which capitals lose."""
    if language == "el":
        spelled = _ACCENTS.sub("", unicodedata.normalize("NFD", spelled))
    return _NO_LETTERS.sub("", spelled)


def _key(spelled: str, language: str) -> str:
    return letters(fold_spelling(_plain(spelled), language), language)


def spellings(value: int, language: str) -> list[str]:
    """Cardinals of all libraries, as they spell them."""
    spelled = _cldr(value, language, FormatPurpose.CARDINAL)
    if language in CONVERTER_CLASSES:
        spelled.add(str(num2words(value, lang=language)))
    if language in _INDIC and value < 10**9:
        spelled.add(str(indic_words(value, lang=language)))
    return sorted(spelled)


def _ordinal_keys(value: int, language: str, cardinals: set[str]) -> set[str]:
    spelled = _cldr(value, language, FormatPurpose.ORDINAL)
    if language in CONVERTER_CLASSES and language != "ar":  # whose ordinals are cardinals
        # The library's ways to say that it does not know.
        with suppress(NotImplementedError, TypeError, IndexError, KeyError):
            spelled.add(str(num2words(value, lang=language, to="ordinal")))
    return {_key(each, language) for each in spelled if each.isprintable()} - cardinals - {""}


class _Speller:
    """What each number is called, without spaces, asked of the libraries once."""

    def __init__(self, language: str):
        self.language = language
        self.asked: dict[int, set[str]] = {}
        # The same without the first word, of what has several.
        self.rests: dict[int, set[str]] = {}

    def __call__(self, value: int) -> set[str]:
        if value not in self.asked:
            spelled = [_plain(each) for each in spellings(value, self.language)]
            keys = {_key(each, self.language) for each in spelled} - {""}
            if self.language == "ta":
                keys |= {_tamil_join(key) for key in keys}
            elif self.language == "ar":
                keys |= _arabic_endings(keys)
            self.asked[value] = keys
            several = (regex.split(r"(?<=\S)[\s-]+(?=\S)", each, maxsplit=1) for each in spelled)
            self.rests[value] = {
                _key(words[1], self.language) for words in several if len(words) > 1
            }
        return self.asked[value]


@cache
def lexicon_of(language: str) -> Lexicon:
    """The number words of a language that `can_read`."""
    spell, beside = _Speller(language), _beside().get(language, Beside())
    small = {key: value for value in reversed(range(100)) for key in spell(value)}
    if language in _WITHOUT_AND:
        for value in range(21, 100):
            if value % 10:
                tens, unit = spell(value - value % 10), spell(value % 10)
                small.update({ten + one: value for ten in tens for one in unit})
    heads: dict[str, int] = {}
    for word, value in beside.cardinals.items():
        (small if value < 100 else heads).setdefault(_key(word, language), value)

    scales: dict[str, int] = {}
    after_digits: dict[str, int] = {}
    for scale in _SCALES:
        _learn_scale(spell, scale, small, heads, scales, after_digits)
    for word, value in beside.scales.items():
        for names in (heads, scales, after_digits):
            names.setdefault(_key(word, language), value)
    after_digits |= beside.abbreviated

    open_heads: dict[str, int] = {}
    between = {_key(word, language) for word in beside.between}
    for scale in _SCALES:
        for times in range(1, 10) if language in _INDIC else (1, 2, 5):
            for head in _before_more(spell, times * scale, scale):
                if head not in small and head not in heads and len(head) > 1:
                    open_heads.setdefault(head, times * scale)
                known = [each for each in spell(times * scale) if head.startswith(each)]
                between |= {head.removeprefix(each) for each in known}
    between -= {"", *small, *heads, *scales}

    ordinals = {
        key: value
        for value in (*range(1000, 199, -100), *range(100, 0, -1))
        for key in _ordinal_keys(value, language, spell(value))
        if key not in small
    }
    words = [*small, *heads, *open_heads, *ordinals]
    return Lexicon(
        small=small,
        heads=heads,
        open_heads=open_heads,
        scales=scales,
        after_digits=after_digits,
        between=frozenset(between),
        ordinals=ordinals,
        starts=frozenset(word[:length] for word in words for length in range(1, START + 1)),
        longest=max(map(len, words)),
        steps=tuple(sorted({1, *scales.values()}, reverse=True)),
    )


def _learn_scale(
    spell: _Speller,
    scale: int,
    small: Mapping[str, int],
    heads: dict[str, int],
    scales: dict[str, int],
    after_digits: dict[str, int],
) -> None:
    """Add what a hundred, a thousand, ... is called, alone and multiplied."""
    for whole in spell(scale):
        # "hundra" of "etthundra"
        bare = min((whole.removeprefix(one) for one in spell(1) if one != whole), key=len)
        for key in {whole, bare} - small.keys():
            heads.setdefault(key, scale)
        if bare not in small:
            scales.setdefault(bare, scale)
            after_digits.setdefault(bare, scale)
    # Tens of thousands have forms of their own where numbers are one word.
    most = {100: 9, 1000: 99}.get(scale, 21)
    for times in range(2, most + 1):
        for whole in spell(times * scale) - small.keys():
            heads.setdefault(whole, times * scale)
            for form in spell(times):
                rest = whole.removeprefix(form)
                if rest and rest != whole and rest not in small:
                    after_digits.setdefault(rest, scale)
                    # A word of its own, not an ending ("dwie-ście").
                    if rest in spell.rests[times * scale]:
                        scales.setdefault(rest, scale)


def _before_more(spell: _Speller, value: int, scale: int) -> set[str]:
    """What `value` is called before more is said: "двестаи" of "двеста и пет"."""
    return {
        head
        for rest in _RESTS
        if rest < scale
        for form in spell(value + rest)
        for tail in spell(rest)
        if (head := form.removesuffix(tail)) and head != form
    }


def _arabic_endings(keys: set[str]) -> set[str]:
    """Units that count what is feminine, and tens behind a verb or a preposition."""
    feminine = {regex.sub("^(ثلاث|اربع|خمس|ست|سبع|ثمان|تسع)ه", r"\1", key) for key in keys}
    return {regex.sub("ون$", "ين", key) for key in keys | feminine} | feminine


def _tamil_join(spelled: str) -> str:
    for apart, joined in _TAMIL_JOINS.items():
        spelled = spelled.replace(apart, joined)
    return spelled
