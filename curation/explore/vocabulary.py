"""The vocabulary of a selection: its words, its rare characters, and what one recogniser alone writes."""

from __future__ import annotations

from typing import Any

import duckdb

from gpa.curation.explore.catalogue import Catalogue
from gpa.curation.selection import fetch

# A stretch between spaces, or a character of a script without them.
_ALONE = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Myanmar}\p{Khmer}"
_TOKENS = rf"unnest(regexp_extract_all(text, '[{_ALONE}]|[^\s{_ALONE}]+')) AS token"
# Without the marks that stand around a word and are no part of it.
_WORD = r"regexp_replace(lower(token), '^[^\p{L}\p{N}]+|[^\p{L}\p{M}\p{N}]+$', '', 'g') AS word"
# What one recogniser writes once is a slip; more often, it is a habit.
LEAST_ALONE = 2

Rows = list[dict[str, Any]]


def vocabulary(catalogue: Catalogue, where: str, most: int = 200) -> dict[str, Rows]:
    """`words` by count, `characters` rarest first, and `alone`: words of one recogniser.

    Words are as written, in lower case and without the marks around them.
    """

    def tokens() -> duckdb.DuckDBPyRelation:
        counted = catalogue.where(where).project(_TOKENS)
        return counted.aggregate("token, count(*) AS times", "token")

    words = (
        tokens()
        .project(f"{_WORD}, times")
        .aggregate("word, sum(times)::BIGINT AS times", "word")
        .filter("word <> ''")
        .order("times DESC, word")
    )
    characters = (
        tokens()
        .project("unnest(string_split(token, '')) AS character, times")
        .aggregate("character, sum(times)::BIGINT AS times", "character")
        .order("times, character")
    )
    heard = ", ".join(
        f"{{'asr': {number}, 'text': \"heard_{asr}\"}}" for number, asr in enumerate(catalogue.asrs)
    )
    alone = (
        catalogue.where(where)
        .project(f"unnest([{heard}], recursive := true)")
        .project(f"asr, {_TOKENS}")
        .aggregate("asr, token, count(*) AS times", "asr, token")
        .project(f"asr, {_WORD}, times")
        .aggregate("word, sum(times)::BIGINT AS times, min(asr) AS asr, max(asr) AS last", "word")
        .filter(f"word <> '' AND asr = last AND times >= {LEAST_ALONE}")
        .order("times DESC, word")
    )
    found = {
        "words": fetch(words.limit(most), where).to_pylist(),
        "characters": fetch(characters.limit(most), where).to_pylist(),
        "alone": fetch(alone.limit(most), where).to_pylist() if len(catalogue.asrs) > 1 else [],
    }
    found["alone"] = [
        {"word": row["word"], "times": row["times"], "asr": catalogue.asrs[row["asr"]]}
        for row in found["alone"]
    ]
    return found
