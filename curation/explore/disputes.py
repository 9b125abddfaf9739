"""Where recognisers disagree: the words that one heard where another heard another.

Counted over the alignments on which the WER between recognisers rests, in agreement units
(`gpa.curation.text.units`): "forty" against "fourteen" is a dispute, "21" against "twenty one" is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import pyarrow as pa
from rapidfuzz.distance import Levenshtein

from gpa.curation.text.units import units

# Utterances that are kept to listen to, of each dispute.
EXAMPLES = 50


@dataclass
class Dispute:
    """One pair of words between two recognisers; `utterances` are the first that have it."""

    first: str
    second: str
    heard_first: str
    heard_second: str
    count: int = 0
    utterances: list[str] = field(default_factory=list)


def disputed(
    texts: Iterable[pa.RecordBatch], asrs: Sequence[str], most: int = 200
) -> list[Dispute]:
    """The most frequent disputes of `Catalogue.texts`, most frequent first."""
    found: dict[tuple[str, str, str, str], Dispute] = {}
    for batch in texts:
        for row in batch.to_pylist():
            heard = {asr: row[f"heard_{asr}"] for asr in asrs if row[f"heard_{asr}"] is not None}
            for key in pairs(heard, row["language"]):
                dispute = found.setdefault(key, Dispute(*key))
                dispute.count += 1
                if len(dispute.utterances) < EXAMPLES:
                    dispute.utterances.append(row["utterance_id"])
    ranked = sorted(found.values(), key=lambda each: (-each.count, each.heard_first, each.first))
    return ranked[:most]


def pairs(heard: Mapping[str, str], language: str) -> Iterator[tuple[str, str, str, str]]:
    """(recogniser, other, word, other's word) for each place of one utterance, each once."""
    in_units = {asr: units(text, language) for asr, text in heard.items()}
    seen = set()
    for first, second in combinations(sorted(in_units), 2):
        one, other = in_units[first], in_units[second]
        if one == other:
            continue
        for edit in Levenshtein.editops(one, other):
            if edit.tag == "replace":
                seen.add((first, second, one[edit.src_pos], other[edit.dest_pos]))
    yield from sorted(seen)
