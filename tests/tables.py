"""Tables for tests that care about a few of their columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

BLANK = {"string": "", "double": 0.0, "int64": 0, "int32": 0, "bool": False}


def table(schema: pa.Schema, *given: dict[str, Any]) -> pa.Table:
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
