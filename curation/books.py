"""The books of a run: every file, utterance and second that went in has one place to be.

`keep` reads the tables of a finished run and adds up; `differences` says in words where the sums
do not meet. Seconds in = kept + dropped by reason + non-speech + quarantined, for each recording
and over all; every utterance is in `curated` or in `rejected`, once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from gpa.runtime.stage import rows
from gpa.runtime.storage import ArtifactStore

# Spans are whole samples at 24 kHz; what is allowed is the rounding of times to float.
TOLERANCE_S = 1e-3
NON_SPEECH, QUARANTINED = "non_speech", "quarantined"

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
    return pa.table(
        {
            "recording_id": dropped["recording_id"],
            "path": dropped["path"],
            "utterance_id": pa.nulls(count, pa.string()),
            "stage": pa.array(["ingest"] * count, pa.string()),
            "reason": dropped["reason"],
            "value": pa.nulls(count, pa.float64()),
            "detail": dropped["detail"],
            "duplicate_of": dropped["duplicate_of"],
            "seconds": dropped["duration_s"],
            "start_s": pa.nulls(count, pa.float64()),
            "end_s": pa.nulls(count, pa.float64()),
        },
        schema=REJECTED,
    )


def stage_rejects(
    artifacts: ArtifactStore,
    stages: Sequence[StageTables],
    recordings: str,
    partitions: Sequence[str],
) -> Iterator[pa.Table]:
    """What the stages dropped, in REJECTED, partition by partition.

    `recordings` is the fingerprint of the stage of that name.
    """
    for partition in partitions:
        listed = artifacts.table("recordings", recordings, partition)
        paths = dict(
            zip(listed["recording_id"].to_pylist(), listed["path"].to_pylist(), strict=True)
        )
        for stage in stages:
            rejects = artifacts.rejects(stage.name, stage.fingerprint, partition)
            if rejects.num_rows:
                dropped = [
                    {**row, "path": paths[row["recording_id"]], "stage": stage.step}
                    for row in rows(rejects)
                ]
                yield pa.Table.from_pylist(dropped, REJECTED)


def keep(
    artifacts: ArtifactStore,
    corpus: pa.Table,
    fingerprints: Mapping[str, str],
    partitions: Sequence[str],
    manifest: pa.Table,
    rejected: pa.Table,
) -> Books:
    """Add up a run, and note every difference.

    `manifest` is that of the shards, `rejected` the table of all that was dropped.
    """
    books = Books()
    lost_s: dict[str, float] = defaultdict(float)
    rejected_utterances: Counter[str] = Counter()
    whole: dict[str, str] = {}  # recordings that were dropped as a whole -> reason
    for row in rows(rejected):
        books.dropped_s[row["reason"]] += row["seconds"]
        books.dropped_by_step_s[row["stage"], row["reason"]] += row["seconds"]
        lost_s[row["recording_id"]] += row["seconds"]
        if row["utterance_id"] is not None:
            rejected_utterances[row["utterance_id"]] += 1
            books.dropped_utterances[row["reason"]] += 1
        elif row["start_s"] is None:
            whole[row["recording_id"]] = row["reason"]
    kept_s: dict[str, float] = defaultdict(float)
    kept_utterances: Counter[str] = Counter()
    for batch in manifest.select(["utterance_id", "recording_id", "duration_s"]).to_batches():
        for row in batch.to_pylist():
            kept_s[row["recording_id"]] += row["duration_s"]
            kept_utterances[row["utterance_id"]] += 1
    books.kept_s = sum(kept_s.values())
    books.kept_utterances = kept_utterances.total()
    books.differences += [
        f"utterance {key} is in curated {count} times"
        for key, count in kept_utterances.items()
        if count > 1
    ]
    decoded_s = _count_utterances(
        artifacts, fingerprints, partitions, kept_utterances, rejected_utterances, books
    )
    _count_recordings(corpus, decoded_s, kept_s, lost_s, whole, books)
    if abs(books.balance_s) > TOLERANCE_S * max(1, corpus.num_rows):
        books.differences.append(
            f"{books.balance_s:+.3f} s of all that went in are unaccounted for"
        )
    return books


def _count_utterances(
    artifacts: ArtifactStore,
    fingerprints: Mapping[str, str],
    partitions: Sequence[str],
    kept: Counter[str],
    rejected: Counter[str],
    books: Books,
) -> dict[str, float]:
    """Check that every utterance is in one place; returns the decoded seconds of recordings."""
    decoded_s: dict[str, float] = {}
    seen: set[str] = set()
    for partition in partitions:
        normalized = artifacts.table("normalized", fingerprints["normalized"], partition)
        for row in rows(normalized.select(["recording_id", "duration_s"])):
            decoded_s[row["recording_id"]] = row["duration_s"]
        utterances = artifacts.table("utterances", fingerprints["utterances"], partition)
        for key in utterances["utterance_id"].to_pylist():
            seen.add(key)
            if (places := kept[key] + rejected[key]) != 1:
                books.differences.append(
                    f"utterance {key} is in curated or rejected {places} times, not once"
                )
    for key in sorted(kept.keys() - seen):
        books.differences.append(f"utterance {key} is in curated but was never cut")
    return decoded_s


def _count_recordings(
    corpus: pa.Table,
    decoded_s: Mapping[str, float],
    kept_s: Mapping[str, float],
    lost_s: Mapping[str, float],
    whole: Mapping[str, str],
    books: Books,
) -> None:
    """Give every file its final state, and check the seconds of each recording."""
    for file in rows(corpus):
        key = file["recording_id"]
        if file["state"] == "ignored":
            books.recordings["ignored"] += 1
            continue
        # A recording that could not be decoded counts with the seconds its container declares.
        in_s = decoded_s.get(key, lost_s.get(key, file["duration_s"]))
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
