"""Error rates of recognition, each test set in the units that its published figures are in.

`librispeech`: words after Whisper's English normaliser. `aishell`: characters without marks and
spaces. `agreement`: the units of consensus (`curation/text/units.py`), for sets that have no protocol of
their own. Edits and references are summed over the set before they are divided.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Literal

from whisper_normalizer.english import EnglishTextNormalizer

from gpa.curation.intervals import Estimate, ratio
from gpa.curation.text.units import units
from gpa.eval.metrics import corpus_wer, errors

Units = Literal["librispeech", "aishell", "agreement"]


def cut(text: str, rule: Units, language: str) -> Sequence[str]:
    """The words or characters of a text that are counted."""
    match rule:
        case "librispeech":
            return english_words(text)
        case "aishell":
            return characters(text)
        case "agreement":
            return units(text, language)


def english_words(text: str) -> list[str]:
    """Words after Whisper's English normaliser: spelling, contractions and numerals are folded."""
    return _english()(text).split()


def characters(text: str) -> list[str]:
    """Every letter and digit of a text, in one case and width; marks and spaces don't count."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [character for character in folded if unicodedata.category(character)[0] in "LN"]


def error_rate(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Estimate:
    """Corpus WER or CER of (reference, hypothesis) pairs, cut into units."""
    return corpus_wer(errors(reference, hypothesis) for reference, hypothesis in pairs)


def authors_error_rate(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Estimate:
    """The weighting of the authors' own script: a mean over utterances by reference characters.

    No corpus WER: an error in an utterance of long words costs more. For comparing with figures
    that were made that way. The pairs are (reference, hypothesis) of texts that `join_hyphens`
    went over before they were cut; an empty reference has no weight.
    """
    costs, weights = [], []
    for reference, hypothesis in pairs:
        counted = errors(reference, hypothesis)
        weight = sum(map(len, reference))
        weights.append(weight)
        costs.append(weight * counted.edits / counted.reference_units if weight else 0.0)
    return ratio(costs, weights)


def join_hyphens(text: str) -> str:
    """One word of each word with hyphens, as the authors' script has it."""
    return text.replace("-", "")


@cache
def _english() -> EnglishTextNormalizer:
    return EnglishTextNormalizer()
