"""The books of a run: every file, utterance and second that went in has one place to be.

`keep` reads the tables of some partitions and adds up; `differences` says in words where the sums
do not meet. Books of other partitions are added. Seconds in = kept + dropped by reason + non-speech + quarantined, for each recording
and over all; every utterance is in `curated` or in `rejected`, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields

import pyarrow as pa
import pyarrow.compute as pc

from gpa.curation.tables import DAMAGED
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.stage import rows

# Spans are whole samples at 24 kHz; what is allowed is the rounding of times to float.
TOLERANCE_S = 1e-3
# Of differences so many are told at most.
TOLD = 1000
NON_SPEECH, QUARANTINED = "non_speech", "quarantined"
DECODED = ("recording_id", "duration_s")

REJECTED = pa.schema(
    [
        pa.field("recording_id", pa.string()),
        pa.field("path", pa.string(), nullable=False),
        pa.field("utterance_id", pa.string()),
        pa.field("stage", pa.string(), nullable=False),  # the step of the recipe
        pa.field("reason", pa.string(), nullable=False),
        pa.field("value", pa.float64()),  # the number that decided
        pa.field("detail", pa.string()),
        pa.field("duplicate_of", pa.string()),  # path of the file with the same bytes
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("start_s", pa.float64()),
        pa.field("end_s", pa.float64()),
    ]
)
# Of them, what the table of the corpus says of a file.
OF_FILE = ("recording_id", "path", "reason", "detail", "duplicate_of")


@dataclass(frozen=True)
class StageTables:
    """Where one stage's artifacts lie, and the step of the recipe that made them."""

    step: str
    name: str
    fingerprint: str


@dataclass
class Books:
    """Sums over a run; all seconds."""

    in_s: float = 0.0
    kept_s: float = 0.0
    dropped_s: Counter[str] = field(default_factory=Counter)  # by reason
    kept_utterances: int = 0
    dropped_utterances: Counter[str] = field(default_factory=Counter)  # by reason
    dropped_by_step_s: Counter[tuple[str, str]] = field(default_factory=Counter)
    recordings: Counter[str] = field(default_factory=Counter)  # by state
    differences: list[str] = field(default_factory=list)

    def __add__(self, other: Books) -> Books:
        return Books(
            **{
                each.name: getattr(self, each.name) + getattr(other, each.name)
                for each in fields(Books)
                if each.name != "differences"
            },
            differences=[*self.differences, *other.differences][:TOLD],
        )

    @property
    def non_speech_s(self) -> float:
        """Where nobody speaks."""
        return self.dropped_s[NON_SPEECH]

    @property
    def quarantined_s(self) -> float:
        """Of recordings that killed their workers."""
        return self.dropped_s[QUARANTINED]

    @property
    def balance_s(self) -> float:
        """What went in less all that came out; 0 where the books balance."""
        return self.in_s - self.kept_s - sum(self.dropped_s.values())


def corpus_rejects(corpus: pa.Table) -> pa.Table:
    """What ingest dropped, in REJECTED."""
    dropped = corpus.filter(pc.equal(corpus["state"], "rejected"))
    count = dropped.num_rows
    known = {
        "stage": pa.repeat("ingest", count),
        "seconds": dropped["duration_s"],
        **{name: dropped[name] for name in OF_FILE},
    }
    columns = [known.get(each.name, pa.nulls(count, each.type)) for each in REJECTED]
    return pa.table(columns, REJECTED)


def in_file_time(rejected: pa.Table, corpus: pa.Table) -> pa.Table:
    """REJECTED with times in the file, where they were in the segment of it that is the recording."""
    places = pc.index_in(rejected["recording_id"], value_set=corpus["recording_id"])
    offsets = corpus["start_s"].take(places)
    for name in ("start_s", "end_s"):
        times = pc.add(rejected[name], offsets)
        rejected = rejected.set_column(
            rejected.column_names.index(name), REJECTED.field(name), times
        )
    return rejected


def stage_rejects(
    artifacts: ArtifactStore, stages: Sequence[StageTables], recordings: str, partition: str
) -> Iterator[pa.Table]:
    """What the stages dropped of a partition, in REJECTED.

    `recordings` is the fingerprint of the stage of that name.
    """
    if not stages:
        return
    listed = artifacts.table("recordings", recordings, partition, ["recording_id", "path"])
    for stage in stages:
        rejects = artifacts.rejects(stage.name, stage.fingerprint, partition)
        count = rejects.num_rows
        places = pc.index_in(rejects["recording_id"], value_set=listed["recording_id"])
        known = {
            "path": listed["path"].take(places),
            "stage": pa.repeat(stage.step, count),
            "duplicate_of": pa.nulls(count, pa.string()),
        }
        columns = {**known, **{name: rejects[name] for name in rejects.column_names}}
        yield pa.table({name: columns[name] for name in REJECTED.names}, REJECTED)


def keep(
    artifacts: ArtifactStore,
    corpus: pa.Table,
    fingerprints: Mapping[str, str],
    partitions: Sequence[str],
    manifest: pa.Table,
    rejected: pa.Table,
) -> Books:
    """Add up some partitions, and note every difference.

    `corpus` holds the files of these partitions, `manifest` what of them is in the shards,
    `rejected` all that was dropped of them.
    """
    books = Books(kept_utterances=manifest.num_rows)
    by_reason = rejected.group_by(["stage", "reason"]).aggregate(
        [("seconds", "sum"), ("utterance_id", "count")]
    )
    for row in rows(by_reason):
        books.dropped_s[row["reason"]] += row["seconds_sum"]
        books.dropped_by_step_s[row["stage"], row["reason"]] += row["seconds_sum"]
        if row["utterance_id_count"]:
            books.dropped_utterances[row["reason"]] += row["utterance_id_count"]
    lost_s = sums(rejected["recording_id"], rejected["seconds"])
    kept_s = sums(manifest["recording_id"], manifest["duration_s"])
    books.kept_s = sum(kept_s.values())
    # Recordings that were dropped as a whole.
    whole = pairs(
        rejected.filter(pc.and_(rejected["utterance_id"].is_null(), rejected["start_s"].is_null())),
        "recording_id",
        "reason",
    )
    normalized = artifacts.tables("normalized", fingerprints["normalized"], partitions, DECODED)
    in_s = went_in([corpus], normalized, rejected, lost_s)
    cut = list(
        artifacts.tables("utterances", fingerprints["utterances"], partitions, ["utterance_id"])
    )
    books.differences += _misplaced(cut, manifest, rejected)
    _count_recordings(corpus, in_s, kept_s, lost_s, whole, books)
    if abs(books.balance_s) > TOLERANCE_S * max(1, corpus.num_rows):
        books.differences.append(
            f"{books.balance_s:+.3f} s of all that went in are unaccounted for"
        )
    return books


def _misplaced(cut: Sequence[pa.Table], manifest: pa.Table, rejected: pa.Table) -> Iterator[str]:
    """Utterances that are not in one place once, in words."""
    found = {"cut": cut, "kept": [manifest], "rejected": [rejected]}
    places = pa.concat_tables(
        [
            pa.table(
                {
                    "utterance_id": table["utterance_id"],
                    **{each: pa.repeat(pa.scalar(each == place), len(table)) for each in found},
                }
            )
            for place, tables in found.items()
            for table in tables
        ]
    )
    counts = (
        places.filter(places["utterance_id"].is_valid())
        .group_by("utterance_id")
        .aggregate([(place, "sum") for place in found])
    )
    was_cut, kept, dropped = (counts[f"{place}_sum"] for place in found)
    astray = pc.or_(
        pc.and_(pc.greater(was_cut, 0), pc.not_equal(pc.add(kept, dropped), 1)),
        pc.or_(pc.greater(kept, 1), pc.and_(pc.equal(was_cut, 0), pc.greater(kept, 0))),
    )
    for row in rows(counts.filter(astray).sort_by("utterance_id")):
        key, times = row["utterance_id"], row["kept_sum"] + row["rejected_sum"]
        if row["kept_sum"] > 1:
            yield f"utterance {key} is in curated {row['kept_sum']} times"
        if row["cut_sum"] and times != 1:
            yield f"utterance {key} is in curated or rejected {times} times, not once"
        if row["kept_sum"] and not row["cut_sum"]:
            yield f"utterance {key} is in curated but was never cut"


def pairs(table: pa.Table, key: str, value: str) -> dict:
    """The values of one column by those of another."""
    return dict(zip(table[key].to_pylist(), table[value].to_pylist(), strict=True))


def sums(keys: pa.ChunkedArray, seconds: pa.ChunkedArray) -> dict[str, float]:
    """Seconds by key."""
    table = pa.table({"key": keys, "seconds": seconds})
    return pairs(table.group_by("key").aggregate([("seconds", "sum")]), "key", "seconds_sum")


def went_in(
    listed: Iterable[pa.Table],
    decoded: Iterable[pa.Table],
    dropped: pa.Table,
    lost_s: Mapping[str, float],
) -> dict[str, float]:
    """Seconds of each recording: decoded, or as its container declares where it never was.

    `lost_s` sums up `dropped`, by recording: one that a stage dropped before it was decoded counts
    with what that stage says it lost. Seconds that a header promised and the file did not hold
    count, too.
    """
    damaged = dropped.filter(pc.equal(dropped["reason"], DAMAGED))
    damaged_s = sums(damaged["recording_id"], damaged["seconds"])
    in_s: dict[str, float] = {}
    for table in listed:
        in_s |= {key: lost_s.get(key, each) for key, each in pairs(table, *DECODED).items()}
    for table in decoded:
        in_s |= {
            key: each + damaged_s.get(key, 0.0) for key, each in pairs(table, *DECODED).items()
        }
    return in_s


def _count_recordings(
    corpus: pa.Table,
    went_in_s: Mapping[str, float],
    kept_s: Mapping[str, float],
    lost_s: Mapping[str, float],
    whole: Mapping[str, str],
    books: Books,
) -> None:
    """Give every file its final state, and check the seconds of each recording."""
    for file in rows(corpus):
        key = file["recording_id"]
        if file["state"] in ("ignored", "not_read"):
            books.recordings[file["state"]] += 1
            continue
        in_s = went_in_s[key]
        books.in_s += in_s
        out_s = kept_s.get(key, 0.0) + lost_s.get(key, 0.0)
        if abs(in_s - out_s) > TOLERANCE_S:
            books.differences.append(
                f"{file['path']}: {in_s:.3f} s went in, {out_s:.3f} s are accounted for"
            )
        if whole.get(key) == QUARANTINED:
            books.recordings["quarantined"] += 1
        elif key in whole:
            books.recordings["rejected"] += 1
        elif kept_s.get(key):
            books.recordings["curated"] += 1
        else:
            books.recordings["nothing_kept"] += 1
