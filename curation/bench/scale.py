"""What a million partitions cost the driver: arranged, listed, handed out, reported, recorded.

The code is that of every run, and Ray and its workers are real, but a worker has nothing to do:
it finds the partition's artifact there, as after a death late in its block, and says so. A folder
of a million files, and a manifest of them, are listed and arranged in processes of their own. Left
out are what workers do (`bench_engine` has that), the tables that ingest writes, and the books and
the report (`bench_close`).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from gpa.curation.audio import Probe
from gpa.curation.ingest import stage as ingest
from gpa.curation.ingest.corpus import find
from gpa.curation.ingest.files import Files, RawFile
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.bench.engine import IN_MEMORY, Work, WorkConfig
from gpa.runtime.bench.figures import Measurement, alone, highest_mb
from gpa.runtime.execution import Engine, Resources
from gpa.runtime.recipe import Recipe, fingerprints
from gpa.runtime.record import RunRecord
from gpa.runtime.storage import Store

SIZES = (10_000, 100_000, 1_000_000)
PARTITION_S, FOLDER = 3600.0, 1000  # files in a folder


class _Unlisted(ArtifactStore):
    """Lists what is done, and then says that nothing is, so that all of it is handed out."""

    def done(self, stage: str, fingerprint: str, partitions: Iterable[str]) -> set[str]:
        super().done(stage, fingerprint, partitions)
        return set()


def bench() -> Iterator[Measurement]:
    """All measurements; they start Ray, take some minutes, and make a million files in memory."""
    driver_us = []
    with Engine(Resources(cpus=2)) as engine:
        for size in SIZES:
            each_us = _driver_us(engine, size)
            driver_us.append(sum(each_us.values()))
            for what, us in each_us.items():
                yield Measurement(f"{what}, of {size:,}", us, "us")
            memory = f"memory of the driver, {size:,} partitions"
            yield Measurement(memory, highest_mb(), "MB at most")
    for size in SIZES:
        with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
            manifest = write_corpus(Path(folder), size)
            for kind, corpus in {"folder": folder, "manifest": str(manifest)}.items():
                seconds, mb = alone(_list, corpus)
                what = f"listing and arranging {size:,} files of a {kind}"
                yield Measurement(what, seconds, "s")
                yield Measurement(f"{what}: memory", mb, "MB", at_most=1500.0)
    growth = max(after / before for before, after in pairwise(driver_us))
    yield Measurement("the driver's CPU a partition, ten times as many", growth, "x", at_most=1.2)


def _driver_us(engine: Engine, size: int) -> dict[str, float]:
    """Microseconds of the driver's CPU that one partition of so many costs, by what is done."""
    began = time.process_time()
    partitions = _partitions(size)
    arranged = time.process_time()
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        store = Store(folder)
        stage = Work("nothing", WorkConfig())
        named = fingerprints([stage], {})
        there = Path(folder) / stage.name / named[stage.name]
        there.mkdir(parents=True)
        for partition in partitions:
            (there / f"{partition}.parquet").touch()  # nobody reads it
        record = RunRecord(store, {"partitions": list(partitions)})

        def make(artifacts: ArtifactStore) -> float:
            began = time.process_time()
            Recipe(artifacts, engine, record, Console(quiet=True)).make(stage, named, partitions)
            return time.process_time() - began

        seconds = {
            "arranging a partition": arranged - began,
            "taking it through a stage": make(_Unlisted(store)),
            "finding it done": make(ArtifactStore(store)),
        }
    return {what: spent_s / size * 1e6 for what, spent_s in seconds.items()}


def write_corpus(folder: Path, size: int) -> Path:
    """So many empty files in folders, and a manifest beside them, which is returned."""
    manifest = folder / "manifest.jsonl"
    with manifest.open("w") as lines:
        for number in range(size):
            path = folder / f"talks/{number // FOLDER:06d}/{number:07d}.flac"
            if number % FOLDER == 0:
                path.parent.mkdir(parents=True)
            path.touch()
            row = {"path": str(path.relative_to(folder)), "language": "en", "text": "a few words"}
            lines.write(json.dumps(row) + "\n")
    return manifest


def _list(corpus: str) -> None:
    _arranged(find(corpus))


def _partitions(size: int) -> Mapping[str, float]:
    """Seconds by partition, of a corpus with so many recordings of an hour."""
    names = [f"talks/{number:07d}.flac" for number in range(size)]
    files = Files(RawFile(name, f"/corpus/{name}", 100_000_000, language="en") for name in names)
    return dict.fromkeys(_arranged(files).partitions, PARTITION_S)


def _arranged(files: Sequence[RawFile]) -> ingest.Corpus:
    """The files arranged, as if each held another hour."""
    config = ingest.IngestConfig(partition_minutes=PARTITION_S / 60)
    return ingest.arrange(files, _probed(files), {}, config)


def _probed(files: Sequence[RawFile]) -> pa.Table:
    size = len(files)
    stream = asdict(Probe(PARTITION_S, 48000, 2, "flac/pcm_16", True, [0, 1], False))
    uris = pa.array((file.uri for file in files), pa.string())
    sha256 = (hashlib.sha256(file.uri.encode()).hexdigest() for file in files)
    probed = {
        "uri": uris,
        "size": pa.repeat(100_000_000, size),
        "stamp": pa.repeat("", size),
        "error": pa.nulls(size, pa.string()),
        "sha256": pa.array(sha256, pa.string()),
        # Not `repeat`, which takes 700 bytes a row on its way.
        "streams": pa.array([[stream]], pa.list_(ingest.STREAM)).take(pa.repeat(0, size)),
    }
    return pa.table(probed, ingest.PROBED)
