"""Language codes, folded to the one by which recognisers and panels go.

People write BCP 47 tags and the codes of ISO 639, 1 to 3: "en-US", "EN", "en_GB", "eng". All are
one language here, since no recogniser is asked for a dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, TypeVar

from langcodes import Language, standardize_tag, tag_is_valid
from langcodes.tag_parser import LanguageTagError
from pydantic import BeforeValidator

# Where models have another code than BCP 47's preferred one: Norwegian without saying which, and
# Tagalog.
AS_MODELS_SAY = {"nb": "no", "fil": "tl"}
# No language, or no single one.
NONE_OF_THEM = frozenset({"und", "mul", "mis", "zxx"})
# The key of what is for every language that has none of its own.
DEFAULT = "default"


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


def configured(code: object) -> str:
    """`folded`, of what YAML makes of a code: `no`, Norwegian, is a truth value there."""
    if code is False:
        return "no"
    if not isinstance(code, str):
        raise ValueError(f"{code!r} is no language; use a code such as 'en', 'en-US' or 'eng'")
    return folded(code)


def by_language(section: object) -> object:
    """A section of a config by folded codes, "default" left as it is.

    Raises ValueError where two keys are one language: one of them could never be chosen.
    """
    if not isinstance(section, Mapping):
        return section
    found: dict[str, tuple[object, object]] = {}
    for key, value in section.items():
        code = key if key == DEFAULT else configured(key)
        if code in found:
            raise ValueError(f"{found[code][0]!r} and {key!r} are one language; keep one of them")
        found[code] = key, value
    return {code: value for code, (_, value) in found.items()}


# Types of config sections: a code, and a mapping by codes.
LanguageCode = Annotated[str, BeforeValidator(configured)]
Value = TypeVar("Value")
ByLanguage = Annotated[dict[str, Value], BeforeValidator(by_language)]
