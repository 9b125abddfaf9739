"""Language codes, folded to the one by which recognisers and panels go.

People write BCP 47 tags and the codes of ISO 639, 1 to 3: "en-US", "EN", "en_GB", "eng". All are
one language here, since no recogniser is asked for a dialect.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from langcodes import Language, standardize_tag, tag_is_valid
from langcodes.tag_parser import LanguageTagError
from pydantic import BeforeValidator

# Where models have another code than BCP 47's preferred one: Norwegian without saying which, and
# Tagalog.
AS_MODELS_SAY = {"nb": "no", "fil": "tl"}
# No language, or no single one.
NONE_OF_THEM = frozenset({"und", "mul", "mis", "zxx"})


@lru_cache(maxsize=4096)
def folded(code: str) -> str:
    """ISO 639-1 where there is such a code, else 639-3: "en" of "en_GB", "zh" of "cmn-Hans".

    Raises ValueError for what is no language.
    """
    tag = code.strip().replace("_", "-")
    try:
        language = Language.get(standardize_tag(tag, macro=True)).language
        valid = tag_is_valid(tag)
    except LanguageTagError:
        valid, language = False, None
    if not valid or language is None or language in NONE_OF_THEM:
        raise ValueError(f"{code!r} is no language; use a code such as 'en', 'en-US' or 'eng'")
    return AS_MODELS_SAY.get(language, language)


def _code(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no language code; put it in quotes")
    return folded(value)


# A code in a config.
LanguageCode = Annotated[str, BeforeValidator(_code)]
