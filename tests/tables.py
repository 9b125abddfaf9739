"""Tables and artifacts for tests that care about a few of their columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from gpa.curation.package.stage import SELECTED
from gpa.curation.tables import (
    ALIGNMENT,
    CONSENSUS,
    HYPOTHESES,
    NORMALIZED,
    QUALITY,
    RECORDINGS,
    UTTERANCES,
)
from gpa.runtime.stage import Artifact, Reject

BLANK = {"string": "", "double": 0.0, "int64": 0, "int32": 0, "bool": False}
SCHEMAS = {
    "recordings": RECORDINGS,
    "normalized": NORMALIZED,
    "utterances": UTTERANCES,
    "quality": QUALITY,
    "hypotheses": HYPOTHESES,
    "consensus": CONSENSUS,
    "alignment": ALIGNMENT,
    "packaged": SELECTED,
}


def table(schema: pa.Schema, *given: Mapping[str, Any]) -> pa.Table:
    """Rows of a schema, what is not given filled with something of its type."""
    filled = [
        {
            field.name: row.get(
                field.name, None if field.nullable else BLANK.get(str(field.type), [])
            )
            for field in schema
        }
        for row in given
    ]
    return pa.Table.from_pylist(filled, schema)


def recordings(languages: Mapping[str, str | None]) -> Artifact:
    """RECORDINGS whose manifest gave them these languages, by id."""
    said = [{"recording_id": key, "language": code} for key, code in languages.items()]
    return artifact("recordings", *said)


def artifact(
    stage: str,
    *given: Mapping[str, Any],
    files: Mapping[str, bytes] | None = None,
    rejects: Sequence[Reject] = (),
) -> Artifact:
    """What a stage would have made of some partition; `stage` may be `hypotheses/<asr>`."""
    return Artifact(table(SCHEMAS[stage.split("/")[0]], *given), files or {}, rejects)
