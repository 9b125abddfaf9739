"""All utterances of a run in one DuckDB table: filtered, sorted, counted, downloaded.

The table is made once, of the artifacts that are whole at that moment; a run that goes on meanwhile
is not disturbed, and what it adds is seen when the explorer is started again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import duckdb
import pyarrow as pa

from gpa.curation import tables
from gpa.curation.report.outputs import Run
from gpa.curation.report.samples import Drawn
from gpa.curation.selection import fetch, holding, lock
from gpa.runtime.errors import UserError

# In the order in which they are shown; `heard_<asr>` follow, one a recogniser.
COLUMNS = (
    "utterance_id", "source", "speaker", "language", "start_s", "duration_s", "kept", "reason",
    "pwer", "verifier_distance", "confidence", "snr_db", "mos", "chosen_asr", "text",
)  # fmt: skip
# Rows of texts in memory at a time.
BATCH_ROWS = 10_000
_SELECT = """
    SELECT u.utterance_id, r.path AS source, u.speaker, coalesce(c.language, r.language) AS language,
        r.start_s + u.start_s AS start_s, u.duration_s, coalesce(c.kept, false) AS kept, c.reason, c.pwer,
        c.verifier_distance, c.confidence, u.snr_db,
        (CASE q.kept_version WHEN 'denoised' THEN q.denoised_mos ELSE q.normalized_mos END).overall
            AS mos,
        c.chosen_asr, coalesce(a.text, c.text, '') AS text, u.recording_id,
        r.start_s + u.end_s AS end_s, r.start_s AS recording_start_s,
        regexp_extract(r.filename, '([^/]+)[.]parquet$', 1) AS partition {heard}
    FROM utterances_of u
    LEFT JOIN recordings_of r USING (recording_id)
    LEFT JOIN quality_of q USING (utterance_id)
    LEFT JOIN consensus_of c USING (utterance_id)
    LEFT JOIN alignment_of a USING (utterance_id)
    {joins}
    ORDER BY source, start_s
"""
_SCHEMAS = {
    "recordings": tables.RECORDINGS,
    "utterances": tables.UTTERANCES,
    "quality": tables.QUALITY,
    "consensus": tables.CONSENSUS,
    "alignment": tables.ALIGNMENT,
}


@dataclass(frozen=True)
class Counts:
    """What a selection amounts to."""

    utterances: int
    seconds: float
    kept: int
    kept_seconds: float


class Catalogue:
    """The utterances of a run; may be asked from many threads.

    Raises UserError where the run lies in no folder of this machine: DuckDB reads it from there.
    """

    def __init__(self, run: Run):
        if not run.artifacts.store.is_local:
            raise UserError("gpa explore reads a folder: copy the tables of OUT to this machine.")
        self.run = run
        self.asrs = run.asrs
        self.columns = [*COLUMNS, *(f"heard_{asr}" for asr in self.asrs)]
        self._connection = duckdb.connect()
        for name, schema in _SCHEMAS.items():
            self._view(f"{name}_of", name, schema)
        for number, asr in enumerate(self.asrs):
            self._view(f"heard_{number}", f"hypotheses/{asr}", tables.HYPOTHESES)
        heard = "".join(f', h{n}.text AS "heard_{asr}"' for n, asr in enumerate(self.asrs))
        joins = " ".join(
            f"LEFT JOIN heard_{n} h{n} ON h{n}.utterance_id = u.utterance_id AND h{n}.error IS NULL"
            for n in range(len(self.asrs))
        )
        select = _SELECT.format(heard=heard, joins=joins)
        self._connection.execute(f"CREATE TABLE utterances AS {select}")
        lock(self._connection)

    def _view(self, view: str, stage: str, schema: pa.Schema) -> None:
        files = [
            store_path
            for partition in self.run.partitions
            if (store_path := self.run.path(stage, partition)) is not None
        ]
        if files:
            self._connection.read_parquet(files, filename=True).create_view(view)
        else:
            empty = schema.append(pa.field("filename", pa.string())).empty_table()
            self._connection.from_arrow(empty).create_view(view)

    def _where(self, where: str) -> duckdb.DuckDBPyRelation:
        relation = self._connection.cursor().table("utterances")
        return holding(relation, where) if where.strip() else relation

    def count(self, where: str) -> Counts:
        """What `where` selects; everything where it is empty."""
        sums = self._where(where).aggregate(
            "count(*) AS utterances, coalesce(sum(duration_s), 0.0) AS seconds,"
            " count(*) FILTER (kept) AS kept,"
            " coalesce(sum(duration_s) FILTER (kept), 0.0) AS kept_seconds"
        )
        return Counts(**fetch(sums, where).to_pylist()[0])

    def rows(
        self, where: str, sort: str = "", descending: bool = False, offset: int = 0, limit: int = 50
    ) -> list[dict[str, Any]]:
        """Rows of a page, `sort` being one of `columns` or empty for the order of the recordings."""
        relation = self._sorted(where, sort, descending).limit(limit, offset)
        return fetch(relation.project(_names(self.columns)), where).to_pylist()

    def table(self, where: str, sort: str = "", descending: bool = False) -> pa.Table:
        """All rows that `where` selects, for a download."""
        return fetch(self._sorted(where, sort, descending).project(_names(self.columns)), where)

    def _sorted(self, where: str, sort: str, descending: bool) -> duckdb.DuckDBPyRelation:
        relation = self._where(where)
        if not sort:
            return relation
        if sort not in self.columns:
            raise UserError(f"There is no column {sort!r}; there are {', '.join(self.columns)}.")
        direction = "DESC" if descending else "ASC"
        return relation.order(f"{_names([sort])} {direction} NULLS LAST, utterance_id")

    def find(self, utterance_id: str) -> Drawn | None:
        """Where an utterance lies, as the report's samples are named."""
        found = self._connection.cursor().execute(
            "SELECT partition, recording_id, start_s - recording_start_s, "
            "end_s - recording_start_s, reason FROM utterances "
            "WHERE utterance_id = ?",
            [utterance_id],
        )
        row = found.fetchone()
        if row is None:
            return None
        partition, recording_id, start_s, end_s, reason = row
        step = "consensus" if reason else ""
        return Drawn(0.0, partition, recording_id, start_s, end_s, utterance_id, step, reason)

    def neighbours(self, utterance_id: str, each_side: int = 3) -> list[dict[str, Any]]:
        """The utterances of its recording around one, itself among them, in order of time."""
        found = self._connection.cursor().execute(
            """WITH here AS (SELECT recording_id, start_s FROM utterances WHERE utterance_id = $id)
            SELECT utterance_id, start_s, speaker, kept, text FROM (
                (SELECT u.* FROM utterances u, here WHERE u.recording_id = here.recording_id
                 AND u.start_s <= here.start_s ORDER BY u.start_s DESC LIMIT $each + 1)
                UNION ALL
                (SELECT u.* FROM utterances u, here WHERE u.recording_id = here.recording_id
                 AND u.start_s > here.start_s ORDER BY u.start_s LIMIT $each)
            ) ORDER BY start_s""",
            {"id": utterance_id, "each": each_side},
        )
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def texts(self, where: str) -> Iterator[pa.RecordBatch]:
        """`utterance_id`, `language` and what each recogniser heard, where any two texts differ."""
        names = ["utterance_id", "language", *(f"heard_{asr}" for asr in self.asrs)]
        differing = " or ".join(
            f'"heard_{one}" <> "heard_{other}"' for one, other in combinations(self.asrs, 2)
        )
        self.count(where)  # says what is wrong with a condition before the first row
        yield from (
            self._where(where)
            .filter(differing or "false")
            .project(_names(names))
            .to_arrow_reader(BATCH_ROWS)
        )


def _names(columns: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
