"""Selections: one SQL expression over the columns of a table of utterances.

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
    connection = duckdb.connect()
    lock(connection)
    try:
        relation = holding(connection.from_arrow(manifest), where).project("utterance_id")
        return set(fetch(relation, where)["utterance_id"].to_pylist())
    finally:
        connection.close()


def lock(connection: duckdb.DuckDBPyConnection) -> None:
    """From here on the connection reads no file and loads nothing, whatever it is asked."""
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")


def holding(relation: duckdb.DuckDBPyRelation, where: str) -> duckdb.DuckDBPyRelation:
    """The rows for which `where` holds; raises UserError where it is no condition on them."""
    try:
        return relation.filter(where)
    except duckdb.Error as error:
        raise _refusal(where, relation.columns, error) from None


def fetch(relation: duckdb.DuckDBPyRelation, where: str) -> pa.Table:
    """The rows of a relation that `holding` made; some conditions fail only now."""
    try:
        return relation.to_arrow_table()
    except duckdb.Error as error:
        raise _refusal(where, relation.columns, error) from None


def _refusal(where: str, columns: list[str], error: duckdb.Error) -> UserError:
    return UserError(
        f"{where!r} is no condition on the columns {', '.join(columns)}: "
        f"{str(error).splitlines()[0]}"
    )
