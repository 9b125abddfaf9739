"""Where one clause may end and another begin: closed classes of words, a language at a time.

No parser: a clause begins with a conjunction, a relative word, a subject pronoun or a discourse
word, and none ends on a word that leans on the next, such as an article, a preposition, an
auxiliary or a hesitation. Nouns, verbs and adjectives decide nothing, so a hesitation inside a
phrase is never taken for a boundary. Languages without an entry have no known boundaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from gpa.runtime.config import Config, parse_each

Words = Annotated[frozenset[str], BeforeValidator(str.split)]


class ClauseWords(Config):
    """`openers` begin a clause, `leaning` words never end one; both in lower case.

    `shortest` is the least number of words on each side, up to the nearest mark. `spaced` is
    False for scripts whose words are single characters: entries are then strings of those.
    """

    openers: Words
    leaning: Words
    shortest: int = 2
    spaced: bool = True


@cache
def clause_words() -> dict[str, ClauseWords]:
    """By language."""
    return parse_each(ClauseWords, Path(__file__).with_name("clauses.yaml"))


def leans(words: Sequence[str], index: int, language: str) -> bool:
    """True where the word at `index` can't end a clause."""
    known = clause_words()[language]
    if known.spaced:
        return _plain(words[index]) in known.leaning
    before = "".join(words[max(0, index - 1) : index + 1])
    return before.endswith(tuple(known.leaning))


def opens(words: Sequence[str], index: int, language: str) -> bool:
    """True where the word at `index` begins a clause."""
    known = clause_words()[language]
    if known.spaced:
        return _plain(words[index]) in known.openers
    return "".join(words[index : index + 2]).startswith(tuple(known.openers))


def _plain(word: str) -> str:
    return word.lower().replace("’", "'")
