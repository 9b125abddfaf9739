"""Which utterances are exported: one SQL expression over the manifest's columns.

DuckDB parses it as an expression, never as a statement, and can't open a file for it.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from gpa.runtime.errors import UserError


def select(manifest: pa.Table, where: str) -> set[str]:
    """`utterance_id` of the rows for which `where` holds; raises UserError that says what is wrong.

    A column that is null satisfies no comparison, as in SQL everywhere.
    """
    connection = duckdb.connect(
        config={"enable_external_access": "false", "lock_configuration": "true"}
    )
    try:
        rows = connection.from_arrow(manifest).filter(where).project("utterance_id")
        return set(rows.to_arrow_table()["utterance_id"].to_pylist())
    except duckdb.Error as error:
        raise UserError(
            f"--where {where!r} is no condition on the manifest's columns "
            f"({', '.join(manifest.column_names)}): {str(error).splitlines()[0]}"
        ) from None
    finally:
        connection.close()
