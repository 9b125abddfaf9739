"""All utterances of a run in one DuckDB table: filtered, sorted, counted, downloaded.

The table is read from the run's artifacts, some partitions at a time, and may be asked meanwhile:
a page is there before all is read. What a run that goes on adds is read when it is whole. The table
lies in a temporary file, so that memory does not grow with the corpus.
"""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from gpa.curation import tables
from gpa.curation.report.outputs import Run, open_run
from gpa.curation.report.samples import Drawn
from gpa.curation.selection import fetch, holding, lock
from gpa.runtime.errors import UserError

# In the order in which they are shown; `heard_<asr>` follow, one a recogniser.
COLUMNS = (
    "utterance_id", "source", "speaker", "language", "start_s", "duration_s", "kept", "reason",
    "pwer", "verifier_distance", "confidence", "snr_db", "mos", *tables.MEASURES, "chosen_asr",
    "text",
)  # fmt: skip
# Partitions that are read together.
BATCH = 64
# Of DuckDB's own memory; what is more lies in the file.
MEMORY = "400MB"
# Between two looks at a run that goes on.
LOOK_S = 10.0
# Utterances that are named to listen to, of each dispute.
EXAMPLES = 50
_SELECT = """
    SELECT u.utterance_id, r.path AS source, u.speaker, coalesce(c.language, r.language) AS language,
        r.start_s + u.start_s AS start_s, u.duration_s, coalesce(c.kept, false) AS kept, c.reason, c.pwer,
        c.verifier_distance, c.confidence, u.snr_db,
        (CASE q.kept_version WHEN 'denoised' THEN q.denoised_mos ELSE q.normalized_mos END).overall
            AS mos,
        {measures}, c.chosen_asr, coalesce(a.text, c.text, '') AS text, u.recording_id,
        r.start_s + u.end_s AS end_s, r.start_s AS recording_start_s,
        regexp_extract(r.filename, '([^/]+)[.]parquet$', 1) AS partition, c.disputed {heard},
        list_extract($first, list_position($partitions, partition))
            + row_number() OVER (ORDER BY r.path, r.start_s + u.start_s) AS place
    FROM utterances_of u
    LEFT JOIN recordings_of r USING (recording_id)
    LEFT JOIN quality_of q USING (utterance_id)
    LEFT JOIN consensus_of c USING (utterance_id)
    LEFT JOIN alignment_of a USING (utterance_id)
    {joins}
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
    """The utterances of a run; may be asked from many threads while one of them reads on.

    Raises UserError where the run lies in no folder of this machine: DuckDB reads it from there.
    """

    def __init__(self, run: Run, at_first: int | None = None):
        """Reads `at_first` partitions before it returns, None: all."""
        if not run.artifacts.store.is_local:
            raise UserError("gpa explore reads a folder: copy the tables of OUT to this machine.")
        self.run = run
        self.asrs = run.asrs
        self.columns = [*COLUMNS, *(f"heard_{asr}" for asr in self.asrs)]
        # Counts what was read: what is remembered of a table holds for one state of it.
        self.state = 0
        self._read: dict[str, tuple[str, ...]] = {}  # partition -> the files it was read from
        self._folder = tempfile.TemporaryDirectory(prefix="gpa-explore-")
        file = Path(self._folder.name) / "utterances.duckdb"
        self._connection = duckdb.connect(str(file), config={"memory_limit": MEMORY})
        lock(self._connection)
        if at_first is None:
            while self.read_on():
                pass
        else:
            self.read_on(at_first)

    @property
    def progress(self) -> dict[str, Any]:
        """How many partitions are read, of how many, and whether the run goes on."""
        of = len(self.run.partitions)
        return {"partitions": len(self._read), "of": of, "partial": self.run.partial}

    def read_on(self, most: int = BATCH) -> bool:
        """Read partitions that are new, or of which more is made; whether there are others left."""
        there = set(self.run.partitions)
        gone = [each for each in self._read if each not in there]
        files = ((each, self._files(each)) for each in self.run.partitions)
        # No further than asked: to look for the files of all takes as long as a page may.
        new = dict(islice((it for it in files if self._read.get(it[0]) != it[1]), most + 1))
        left = len(new) > most
        if left:
            new.popitem()
        if gone or new or not self.state:
            self._add(list(new), [*gone, *(each for each in new if each in self._read)])
            for each in gone:
                del self._read[each]
            self._read |= new
            self.state += 1
        return left

    def follow(self, stop: threading.Event) -> None:
        """Read all there is, and what a run that goes on adds, until it has ended or `stop`.

        A run that was started anew with other recognisers has other columns: what was read stays.
        """
        while not stop.is_set():
            try:
                if self.read_on():
                    continue
                if not self.run.partial:
                    return
            except (duckdb.Error, OSError):
                # A file was taken away meanwhile; the next look finds what took its place.
                pass
            stop.wait(LOOK_S)
            run = open_run(self.run.artifacts.store.url)
            if run.asrs != self.asrs:
                return
            self.run = run

    def close(self) -> None:
        """Take away the temporary file."""
        self._connection.close()
        self._folder.cleanup()

    def _stages(self) -> list[str]:
        return [*_SCHEMAS, *(f"hypotheses/{asr}" for asr in self.asrs)]

    def _files(self, partition: str) -> tuple[str, ...]:
        paths = (self.run.path(stage, partition) for stage in self._stages())
        return tuple(path for path in paths if path is not None)

    def _add(self, partitions: list[str], without: list[str] | None = None) -> None:
        """Put the rows of partitions in place of what was there of those in `without`."""
        rows = self._rows(partitions)
        with self._connection.cursor() as cursor:
            cursor.register("batch", rows)
            cursor.execute("BEGIN")
            cursor.execute("CREATE TABLE IF NOT EXISTS utterances AS FROM batch LIMIT 0")
            if without:
                cursor.execute(
                    "DELETE FROM utterances WHERE partition IN (SELECT unnest(?))", [without]
                )
            cursor.execute("INSERT INTO utterances FROM batch")
            cursor.execute("COMMIT")
            cursor.unregister("batch")

    def _rows(self, partitions: list[str]) -> pa.Table:
        """The rows of these partitions, read by a connection that may open files."""
        with duckdb.connect() as reader:
            for name, schema in _SCHEMAS.items():
                self._view(reader, f"{name}_of", name, schema, partitions)
            for number, asr in enumerate(self.asrs):
                stage = f"hypotheses/{asr}"
                self._view(reader, f"heard_{number}", stage, tables.HYPOTHESES, partitions)
            heard = "".join(f', h{n}.text AS "heard_{asr}"' for n, asr in enumerate(self.asrs))
            joins = " ".join(
                f"LEFT JOIN heard_{n} h{n} ON h{n}.utterance_id = u.utterance_id "
                f"AND h{n}.error IS NULL"
                for n in range(len(self.asrs))
            )
            measures = ", ".join(f"q.{name}" for name in tables.MEASURES)
            select = _SELECT.format(heard=heard, joins=joins, measures=measures)
            places = {each: number for number, each in enumerate(self.run.partitions)}
            first = [places[each] << 32 for each in partitions]
            asked = {"partitions": partitions, "first": first}
            return reader.sql(select, params=asked).to_arrow_table()

    def _view(
        self,
        reader: duckdb.DuckDBPyConnection,
        view: str,
        stage: str,
        schema: pa.Schema,
        partitions: list[str],
    ) -> None:
        paths = (self.run.path(stage, partition) for partition in partitions)
        files = [path for path in paths if path is not None]
        if files:
            reader.read_parquet(files, filename=True).create_view(view)
        else:
            empty = schema.append(pa.field("filename", pa.string())).empty_table()
            reader.from_arrow(empty).create_view(view)

    def where(self, where: str) -> duckdb.DuckDBPyRelation:
        """The rows for which a condition holds, all where it is empty; raises UserError."""
        relation = self._connection.cursor().table("utterances")
        return holding(relation, where) if where.strip() else relation

    def count(self, where: str) -> Counts:
        """What `where` selects; everything where it is empty."""
        sums = self.where(where).aggregate(
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
        relation = self.where(where)
        if not sort:
            return relation.order("place")
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

    def disputes(self, where: str, most: int = 200) -> list[dict[str, Any]]:
        """The most frequent words that two voters dispute, most frequent first.

        Each with its `count`, and the first `utterances` that have it. Counted over the alignments on
        which pWER rests, as consensus wrote them down.
        """
        words = "first, second, heard_first, heard_second"
        found = (
            self.where(where)
            .project("utterance_id, unnest(disputed) AS each")
            .project("utterance_id, unnest(each)")
            .aggregate(
                f"{words}, count(*) AS count, min(utterance_id, {EXAMPLES}) AS utterances", words
            )
            .order(f"count DESC, {words}")
            .limit(most)
        )
        return fetch(found, where).to_pylist()


def _names(columns: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
