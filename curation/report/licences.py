"""Licence lineage: what the models behind the text allow, and which of them allows least.

No legal advice: licences are ranked by how much they ask of whoever uses the data, from what
their names say. A name that is not known ranks last, so that a person reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What supplies, votes on or punctuates the text.
TEXT_STEPS = ("transcribe", "punctuate")
# From the least to the most restrictive; the last pattern that fits a licence's name counts: of
# "CC-BY-NC-SA" it is "NC".
RANKS = (
    ("public domain", r"cc0|public domain|unlicense|0bsd"),
    ("permissive", r"\b(mit|bsd|apache|isc|zlib|python)\b"),
    ("attribution", r"cc.by\b|openrail|open ?data"),
    ("share-alike", r"cc.by.sa|gpl|mpl|eupl"),
    ("no derivatives", r"cc.by.nd"),
    ("non-commercial", r"\bnc\b|non.?commercial|research only|academic"),
)
UNKNOWN = "unknown: read it"


@dataclass(frozen=True)
class Lineage:
    """One model behind the text; `rank` is higher the less its licence allows."""

    name: str  # "<step>/<name>", as in run.json
    model: str
    licence: str
    rank: int
    kind: str


def rank(licence: str) -> tuple[int, str]:
    """How restrictive a licence is, 0 for the public domain, and the kind in words.

    Of "A OR B" the user has the choice, so the freer counts; of "A AND B" and "A, B" both bind.
    """
    bound = []
    # A remark such as "BSD-2-Clause (dictionary and trigrams)" names no licence.
    licence = re.sub(r"(?<=\S)\s*\([^()]*\)", "", licence)
    for part in re.split(r"\s+and\s+|,|;|\+", licence, flags=re.IGNORECASE):
        if part.strip():
            choices = re.split(r"\s+or\s+|/", part, flags=re.IGNORECASE)
            bound.append(min(_rank_one(choice) for choice in choices))
    found = max(bound, default=len(RANKS))
    return found, RANKS[found][0] if found < len(RANKS) else UNKNOWN


def _rank_one(licence: str) -> int:
    fits = [place for place, (_, name) in enumerate(RANKS) if re.search(name, licence, re.I)]
    return max(fits, default=len(RANKS))


def lineage(models: Mapping[str, Mapping[str, Any]]) -> list[Lineage]:
    """The models that supplied, voted on or punctuated the text, the most restrictive first.

    `models` is that section of `run.json`. A model is bound by its own licence and by those of
    all its weights.
    """
    found = []
    for name, model in models.items():
        if name.split("/")[0] not in TEXT_STEPS:
            continue
        licences = dict.fromkeys([model["licence"], *(w["licence"] for w in model["weights"])])
        worst = max(licences, key=lambda licence: rank(licence)[0])
        found.append(Lineage(name, model["model"], worst, *rank(worst)))
    return sorted(found, key=lambda each: (-each.rank, each.name))
