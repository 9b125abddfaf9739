"""What the end of a run costs over tables of a million utterances: its close, verify, compare.

The tables are those of every run, of partitions of an hour, and the code is that of the commands;
clips are empty, so that bytes of audio do not count. Left out are the page and its samples, which
do not grow. Each step has a process of its own, in which it does its workers' part, too: its time
is of the CPU, which other programs on the machine change little, and its memory is what it takes
above imports. What Ray adds has `gpa bench engine`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from gpa.curation import close as closing
from gpa.curation import run, shards
from gpa.curation.consensus.stage import ConsensusConfig, PanelConfig
from gpa.curation.ingest.stage import CORPUS
from gpa.curation.package.stage import SELECTED
from gpa.curation.report import compare, summary
from gpa.curation.report.audit import audit
from gpa.curation.report.outputs import CORPUS_TABLE, open_run
from gpa.curation.report.write import SAMPLES
from gpa.curation.tables import (
    ALIGNMENT,
    CONSENSUS,
    HYPOTHESES,
    NORMALIZED,
    QUALITY,
    RECORDINGS,
    UTTERANCES,
)
from gpa.runtime import record
from gpa.runtime.artifacts import ArtifactStore, parquet_bytes
from gpa.runtime.bench.figures import Measurement, alone
from gpa.runtime.execution import Engine, Pool
from gpa.runtime.stage import Artifact, Reject
from gpa.runtime.storage import Store

SIZES = (100_000, 1_000_000)
# An hour of utterances of 6 s; consensus drops every sixth.
UTTERANCES_A_PARTITION, UTTERANCE_S, DROPPED_EVERY = 600, 6.0, 6
ASRS = ("one", "two", "three")
FLAC_BYTES, SHARD_BYTES = 100_000, 256e6
HEARD = [f"hypotheses/{asr}" for asr in ASRS]
SCHEMAS = {
    "recordings": RECORDINGS, "normalized": NORMALIZED, "utterances": UTTERANCES,
    "quality": QUALITY, "consensus": CONSENSUS, "alignment": ALIGNMENT, "packaged": SELECTED,
    **dict.fromkeys(HEARD, HYPOTHESES),
}  # fmt: skip
BLANK = {"string": "", "double": 0.5, "float": 0.5, "int64": 0, "int32": 16000, "bool": False}

# What is done to an OUT.
Step = Callable[[str, Engine], None]


class Here:
    """An engine of one worker, which is this process."""

    def map(
        self, worker: type, arguments: tuple[Any, ...], items: pa.Table, pool: Pool
    ) -> Iterator[dict[str, Any]]:
        """As `gpa.runtime.execution.Engine.map`."""
        work = worker(*arguments)
        for number in range(len(items)):
            made = work(items.slice(number, 1).to_pydict())
            yield from pa.Table.from_pydict(made).to_pylist()


def bench(steps: Mapping[str, Step], sizes: tuple[int, ...] = SIZES) -> Iterator[Measurement]:
    """All measurements, with the growth from size to size; they take minutes."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for size in sizes:
        with tempfile.TemporaryDirectory() as out:
            write_out(Path(out), size // UTTERANCES_A_PARTITION)
            for name, step in steps.items():
                seconds, highest_mb = alone(step, out, cast(Engine, Here()))
                spent[name].append((seconds, highest_mb))
                aim_s = 60.0 * size / 1e6
                yield Measurement(f"{name}, {size:,} utterances", seconds, "s", at_most=aim_s)
                yield Measurement(f"{name}, {size:,}: memory", highest_mb, "MB", at_most=1000.0)
    for name, points in spent.items():
        (first_s, first_mb), (last_s, last_mb) = points[0], points[-1]
        times = f"{sizes[-1] / sizes[0]:g} times as many"
        yield Measurement(f"{name}: time, {times}", last_s / first_s, "x")
        yield Measurement(f"{name}: memory, {times}", last_mb - first_mb, "MB more")


def write_out(folder: Path, partitions: int) -> None:
    """A finished run of so many partitions, each of one recording, but for its shards and rejects."""
    artifacts = ArtifactStore(Store(str(folder)))
    names = [f"part-{number:07d}" for number in range(partitions)]
    template = _template()
    for name in names:
        for stage, table in template.items():
            files: dict[str, bytes] = {}
            rejects: list[Reject] = []
            table = _of(table, name)
            if stage == "utterances":
                files = {f"{key}.normalized.flac": b"" for key in table["utterance_id"].to_pylist()}
            elif stage == "consensus":
                dropped = table.filter(table["reason"].is_valid())["utterance_id"].to_pylist()
                rejects = [
                    Reject(name, "disagreement", UTTERANCE_S, key, 0.0, UTTERANCE_S, 0.5)
                    for key in dropped
                ]
            artifacts.write(stage, "1", name, Artifact(table, files, rejects))
    hour_s = UTTERANCES_A_PARTITION * UTTERANCE_S
    corpus = [
        {"recording_id": name, "path": f"{name}.flac", "uri": name, "bytes": 1, "start_s": 0.0,
         "duration_s": hour_s, "state": "recording", "partition": name}
        for name in names
    ]  # fmt: skip
    store = artifacts.store
    store.write(CORPUS_TABLE, parquet_bytes(pa.Table.from_pylist(corpus, CORPUS)))
    consensus = ConsensusConfig(panels={"default": PanelConfig(voters=ASRS)})
    content = {
        "layout_version": record.LAYOUT_VERSION,
        "finished": True,
        "pipeline": "bench",
        "config": {"consensus": consensus.model_dump(mode="json")},
        **{name: {} for name in ("models", "stages", "versions")},
        "partitions": names,
        "fingerprints": dict.fromkeys(template, "1"),
    }
    store.write(record.NAME, json.dumps(content).encode())


def _template() -> dict[str, pa.Table]:
    """The tables of one partition by stage, their keys to be completed by the partition's name."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
    hour_s = UTTERANCES_A_PARTITION * UTTERANCE_S
    for stage in ("recordings", "normalized"):
        rows[stage].append({"recording_id": "", "duration_s": hour_s})
    words = [
        {"word": "word", "start_s": k * 0.3, "end_s": k * 0.3 + 0.25, "confidence": 0.9}
        for k in range(18)
    ]
    for number in range(UTTERANCES_A_PARTITION):
        kept = number % DROPPED_EVERY > 0
        start_s = number * UTTERANCE_S
        known = {
            "utterance_id": f"-{round(start_s * 1000):09d}",
            "recording_id": "",
            "start_s": start_s,
            "end_s": start_s + UTTERANCE_S,
            "duration_s": UTTERANCE_S,
            "speaker": f"-S{number % 4}",
            "speaker_embedding": [0.1 * number % 1.0] * 192,
            "language": "en",
            "text": " ".join(["word"] * 18),
            "kept_version": "normalized",
            "voters": list(ASRS),
            "wer_matrix": [[0.1 * (i != j) for j in range(3)] for i in range(3)],
            "pwer": 0.1 if kept else 0.5,
            "pwer_without": [0.1] * 3,
            "kept": kept,
            "reason": None if kept else "disagreement",
            "words": words,
            "bytes": FLAC_BYTES,
            "json": json.dumps({"words": words}),
        }
        for stage in ("utterances", "quality", "consensus", *HEARD):
            rows[stage].append(known)
        if kept:
            for stage in ("alignment", "packaged"):
                rows[stage].append(known)
    return {
        name: pa.Table.from_pylist(
            [
                {
                    field.name: row.get(
                        field.name, None if field.nullable else BLANK.get(str(field.type), [])
                    )
                    for field in SCHEMAS[name]
                }
                for row in given
            ],
            SCHEMAS[name],
        )
        for name, given in rows.items()
    }


def _of(table: pa.Table, partition: str) -> pa.Table:
    """A table of the template, with the keys of a partition."""
    for key in ("utterance_id", "recording_id", "speaker"):
        if key in table.column_names:
            place = table.schema.get_field_index(key)
            keys = pc.binary_join_element_wise(partition, table[key], "")
            table = table.set_column(place, table.schema.field(key), keys)
    return table


def _write_shards(out: str, engine: Engine) -> None:
    found = open_run(out)
    named, partitions = found.fingerprints, found.partitions
    plan = shards.Plan(found.artifacts, named["packaged"], partitions, SHARD_BYTES)
    shards.write(engine, found.artifacts, named, plan.extend(partitions, partitions), Pool())


def _close(out: str, engine: Engine) -> None:
    found = open_run(out)
    books = closing.close(found, engine, Pool())
    audited = audit(found, SAMPLES)
    content = summary.summarise(books, audited.agreement, found.content)
    found.artifacts.store.write(summary.NAME, json.dumps(content).encode())


def _verify(out: str, _: Engine) -> None:
    if problems := run.verify(out):
        raise AssertionError(problems[:3])


def _compare(out: str, _: Engine) -> None:
    compare.run(out, out, None, Console(quiet=True))


# In their order: each reads what those before it wrote.
STEPS: dict[str, Step] = {
    "shards": _write_shards,
    "close and audit": _close,
    "verify": _verify,
    "compare": _compare,
}
