"""What there is of one recogniser and one utterance, as written by transcribe and read by consensus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from gpa.curation.models.protocols import Hypothesis, Word
from gpa.runtime.stage import rows


@dataclass(frozen=True)
class Skipped:
    """Stands where a hypothesis would: the ASR was not asked, since pWER is proven without it."""

    pwer_at_least: float


# What there is of one ASR and one utterance.
Heard = Hypothesis | Exception | Skipped


def read_hypotheses(table: pa.Table) -> dict[str, Heard]:
    """One ASR's hypotheses by utterance, out of its table."""
    return {row["utterance_id"]: _hypothesis(row) for row in rows(table)}


def _hypothesis(row: Mapping[str, Any]) -> Heard:
    if row["pwer_at_least"] is not None:
        return Skipped(row["pwer_at_least"])
    if row["error"] is not None:
        return RuntimeError(row["error"])
    return Hypothesis(
        text=row["text"],
        words=tuple(Word(**word) for word in row["words"]),
        confidence=row["confidence"],
        language=row["language"],
        language_probability=row["language_probability"],
    )
