"""Number words as digits, in the languages of `number_lexicon.py`.

Read without spaces and hyphens, since these are written at will: "dvadsať päť" and "dvadsaťpäť".
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import regex

from gpa.curation.text.number_lexicon import START, Lexicon, letters, lexicon_of

_WORD = regex.compile(r"[\p{L}\p{M}]+(?:'[\p{L}\p{M}]+)*'?|\d+(?:[.,]\d+)?")
_BETWEEN_WORDS = regex.compile(r"\s+|\s?-\s?")
_MOST_WORDS = 16  # of one number


def read_numbers(text: str, language: str) -> str:
    """`text` with its number words as digits, ordinals as digits and "º"; else as it is.

    `language` is one that `can_read`.

    Lower-case text after `fold_spelling` expected, its digits ASCII and not grouped. Digits and a
    scale become their product: "2,5 miljoner" is 2500000.
    """
    lexicon = lexicon_of(language)
    words = list(_WORD.finditer(text))
    keys = [letters(word.group(), language) for word in words]
    pieces: list[str] = []
    at = index = 0
    while index < len(words):
        if words[index].group()[0].isdigit():
            count, number = _scaled(words, keys, index, text, lexicon)
        elif keys[index][:START] in lexicon.starts:
            # Of "two point five million" the decimals alone.
            limit = 100 if index and words[index - 1].group() == "point" else 10**12
            count, number = _spelled(words, keys, index, text, limit, lexicon)
        else:
            count = 0
        if not count:
            index += 1
            continue
        pieces.append(f"{text[at : words[index].start()]} {number} ")
        at = words[index + count - 1].end()
        index += count
    return "".join(pieces) + text[at:]


def _follows(words: list[regex.Match[str]], index: int, text: str) -> bool:
    """Whether only a space or a hyphen lies before the word at `index`."""
    between = text[words[index - 1].end() : words[index].start()]
    return _BETWEEN_WORDS.fullmatch(between) is not None


def _scaled(
    words: list[regex.Match[str]], keys: list[str], index: int, text: str, lexicon: Lexicon
) -> tuple[int, str]:
    """Digits times the scales behind them: how many words these are (0: none) and the product."""
    value = Decimal(words[index].group().replace(",", "."))
    last = index + 1
    while last < len(words) and keys[last] in lexicon.after_digits and _follows(words, last, text):
        value *= lexicon.after_digits[keys[last]]
        last += 1
    if last == index + 1 or value != int(value):
        return 0, ""
    return last - index, str(int(value))


def _spelled(
    words: list[regex.Match[str]],
    keys: list[str],
    index: int,
    text: str,
    limit: int,
    lexicon: Lexicon,
) -> tuple[int, str]:
    """The longest number in words from `index` on: of how many words (0: none), and its digits."""
    joined = ""
    ends = {}
    for last in range(index, min(index + _MOST_WORDS, len(words))):
        if last > index and (not keys[last] or not _follows(words, last, text)):
            break
        joined += keys[last]
        ends[len(joined)] = last - index + 1
    found = max(
        (one for one in _readings(joined, 0, limit, lexicon) if one[0] in ends),
        default=None,
        key=lambda one: (one[0], not one[2]),
    )
    if found is None:
        return 0, ""
    end, value, is_ordinal = found
    return ends[end], f"{value}º" if is_ordinal else str(value)


def _readings(said: str, at: int, limit: int, lexicon: Lexicon) -> Iterator[tuple[int, int, bool]]:
    """Numbers under `limit` that begin at `at`: where they end, their value, if an ordinal."""
    for end in range(min(at + lexicon.longest, len(said)), at, -1):
        part = said[at:end]
        if 0 < lexicon.ordinals.get(part, 0) < limit:
            yield end, lexicon.ordinals[part], True
        value = lexicon.small.get(part)
        if value is not None and value < limit:
            yield end, value, False
            if value:
                yield from _multiplied(said, end, value, limit, lexicon)
        head = lexicon.heads.get(part)
        if head is not None and head < limit:
            yield end, head, False
            yield from _completed(said, end, head, limit, lexicon)
        elif (head := lexicon.open_heads.get(part)) is not None and head < limit:
            yield from _completed(said, end, head, limit, lexicon)


def _multiplied(
    said: str, at: int, value: int, limit: int, lexicon: Lexicon
) -> Iterator[tuple[int, int, bool]]:
    """`value` times a scale, and what follows that."""
    for end in range(min(at + lexicon.longest, len(said)), at, -1):
        scale = lexicon.scales.get(said[at:end], 0)
        if scale and value < max(scale, 100) and value * scale < limit:
            yield end, value * scale, False
            yield from _completed(said, end, value * scale, limit, lexicon)


def _completed(
    said: str, at: int, value: int, limit: int, lexicon: Lexicon
) -> Iterator[tuple[int, int, bool]]:
    """`value`, some hundreds or thousands, with a smaller number or a larger scale behind it."""
    smallest = next(step for step in lexicon.steps if value % step == 0)
    starts = [at] + [
        at + len(word) for word in lexicon.between if word and said.startswith(word, at)
    ]
    for start in starts:
        for end, rest, is_ordinal in _readings(said, start, smallest, lexicon):
            if rest:
                yield end, value + rest, is_ordinal
                if not is_ordinal and value + rest < 1000:
                    yield from _multiplied(said, end, value + rest, limit, lexicon)
    if value < 1000:
        yield from _multiplied(said, at, value, limit, lexicon)
