"""The rules of seed-tts-eval, the public test of zero-shot speech (BytedanceSpeech/seed-tts-eval).

An ASR writes down what was spoken: Whisper large-v3 for English, Paraformer for Mandarin. All
marks but the apostrophe are deleted from both texts, so that "well-known" becomes one word, and so
does "don’t" with a curly apostrophe, which counts as a mark. English is put in lower case and cut
into words. Mandarin is cut into characters, as they are; what the ASR wrote is put in simplified
script. WER may exceed 1, and the figure of a set is the mean over its utterances: a short one
weighs as much as a long one.

The published scripts leave out audio that is not there, so a system that fails on the hard
sentences looks better for it. Here missing audio is an error, and silence counts as all wrong.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from functools import cache
from typing import Literal, get_args

from opencc import OpenCC
from zhon.hanzi import punctuation

from gpa.curation.intervals import Estimate, mean
from gpa.eval.metrics import errors

Language = Literal["en", "zh"]
SPOKEN_LANGUAGES: tuple[Language, ...] = get_args(Language)

_MARKS = str.maketrans("", "", (string.punctuation + punctuation).replace("'", ""))


def units(text: str, language: Language) -> list[str]:
    """Words of an English text, characters of a Mandarin one, without marks."""
    unmarked = text.translate(_MARKS)
    return unmarked.lower().split() if language == "en" else list("".join(unmarked.split()))


def utterance_wer(reference: str, heard: str, language: Language) -> float:
    """Edits over reference units of one utterance; `heard` is what the ASR wrote.

    Raises ValueError where the reference has no units: nothing can be said wrongly of it.
    """
    if language == "zh":
        heard = _simplified().convert(heard)
    counted = errors(units(reference, language), units(heard, language))
    if not counted.reference_units:
        raise ValueError(f"the text {reference!r} has no words")
    return counted.edits / counted.reference_units


def macro_wer(pairs: Iterable[tuple[str, str]], language: Language) -> Estimate:
    """Mean WER of (text, what the ASR heard), one pair an utterance."""
    return mean(utterance_wer(reference, heard, language) for reference, heard in pairs)


@cache
def _simplified() -> OpenCC:
    return OpenCC("t2s")
