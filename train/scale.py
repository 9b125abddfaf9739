"""What training costs before its first row, and the loader after it, by the size of the data.

Synthetic shards: real files, real columns, lists so short that thirty million utterances fit a disk.
Each size has a process of its own; time is of its CPU, which other programs change little.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from gpa.runtime.bench.figures import Measurement, highest_mb, memory_mb
from gpa.tokenize.sequences import GLOBAL_TOKENS
from gpa.tokenize.shards import (
    LISTS,
    TOKENS_SCHEMA,
    Provenance,
    TokenShards,
    token_rows,
    write_index,
    write_shard,
)
from gpa.tokenize.vocabulary import Vocabulary
from gpa.train.bench import made_up_shards, made_up_utterances
from gpa.train.catalogue import Catalogue
from gpa.train.data import PackedRows
from gpa.train.mixture import Mixture, MixtureConfig
from gpa.train.packing import collate

SIZES = (1_000_000, 10_000_000, 30_000_000)
SHARD = 20_000
SPEAKER = 25  # utterances of each
ROW_TOKENS = 4096
RESUMED_AT = 200  # windows
READ_ROWS = 300
MILLION = 1_000_000
PRIVATE = "RssAnon"  # memory that no file stands behind


def bench() -> Iterator[Measurement]:
    """All measurements, with the growth from size to size; needs 8 GB of disk and some minutes."""
    yield from _bytes()
    yield from _reading()
    of_sizes = []
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            write_synthetic(Path(folder), size)
            with multiprocessing.get_context("spawn").Pool(1) as alone:
                of_sizes.append(alone.apply(_start, (Path(folder), size)))
        yield from of_sizes[-1]
    for first, last in zip(of_sizes[0], of_sizes[-1], strict=True):
        growth = f"{first.name.partition(', of ')[0]}, {SIZES[-1] / SIZES[0]:g} times as many"
        yield Measurement(growth, last.value / first.value, "x")


def write_synthetic(folder: Path, count: int) -> None:
    """Token shards of `count` utterances with 8 to 40 semantic tokens, in a column at a time."""
    index = []
    for number, start in enumerate(range(0, count, SHARD)):
        numbers = np.arange(start, min(start + SHARD, count))
        path = folder / f"shard-{number:06d}.arrow"
        index.append(write_shard(path, synthetic_rows(numbers)))
    write_index(folder, index, Provenance(Vocabulary.build().text_digest, "none", "none", False))


def synthetic_rows(numbers: np.ndarray) -> pa.RecordBatch:
    """The rows of a shard of these utterances, shape (utterances,)."""
    rng = np.random.default_rng(int(numbers[0]))
    semantic = rng.integers(8, 41, len(numbers))
    counts = dict(zip(LISTS, (semantic // 4, semantic // 4, semantic), strict=True))
    names = np.char.mod("%012d", numbers)
    speakers = numbers % max(1, (len(numbers) // SPEAKER)) + numbers[0]
    keys = {name: hashlib.sha256(str(name).encode()).digest()[:8] for name in np.unique(speakers)}
    columns = {
        "utterance_id": pa.array(names),
        "speaker": pa.array(speakers.astype(str)),
        "speaker_key": pa.array(
            np.array([int.from_bytes(keys[name], "big") for name in speakers], np.uint64)
        ),
        "language": pa.array(np.array(["de", "en", "zh"])[numbers % 3]),
        "source": pa.array(np.array(["books", "calls"])[numbers % 2]),
        "text": pa.array(names),
        "duration_s": pa.array(semantic / 50),
        "global_tokens": pa.FixedSizeListArray.from_arrays(
            rng.integers(0, 4096, GLOBAL_TOKENS * len(numbers), dtype=np.uint16), GLOBAL_TOKENS
        ),
    }
    for name, count in counts.items():
        kind = TOKENS_SCHEMA.field(name).type.value_type
        values = rng.integers(0, 4096, count.sum()).astype(kind.to_pandas_dtype())
        offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
        columns[name] = pa.ListArray.from_arrays(offsets, values)
    return pa.record_batch([columns[name] for name in TOKENS_SCHEMA.names], TOKENS_SCHEMA)


def _start(folder: Path, count: int) -> list[Measurement]:
    """From a folder of shards to the first row, to a worker's first row, and to a resumed one."""
    before_mb = memory_mb(PRIVATE)
    rows = _rows(TokenShards(folder))
    rows[0]
    first_s = time.process_time()  # from the start of the process, its imports too
    kept_mb = memory_mb(PRIVATE) - before_mb
    most_mb = highest_mb() - before_mb

    handed = pickle.dumps(rows)
    began = time.process_time()
    pickle.loads(handed)[0]
    worker_s = time.process_time() - began

    ((place, _),) = islice(rows.mixture.rows(), RESUMED_AT, RESUMED_AT + 1)
    again = PackedRows(rows.shards, rows.structure, rows.mixture, 10**9, True, start=place)
    began = time.process_time()
    again[place.row]
    resumed_s = time.process_time() - began
    arrays = sum(getattr(rows.mixture.catalogue, name).nbytes for name in Catalogue.ARRAYS)
    of = f"of {count:,}"
    return [
        Measurement(f"to the first row, {of}", first_s, "s", at_most=5 + count / MILLION),
        Measurement(f"integers an utterance, {of}", arrays / count, "bytes", at_most=16),
        Measurement(f"memory kept, {of}", kept_mb, "MB", at_most=1500),
        Measurement(f"memory at most, shards and page cache too, {of}", most_mb, "MB"),
        Measurement(f"handed to a worker, {of}", len(handed) / 1e6, "MB", at_most=1),
        Measurement(f"a worker's first row, {of}", worker_s, "s", at_most=2),
        Measurement(
            f"first row of row {place.row:,} on, {of}", resumed_s, "s", at_most=2 * worker_s + 1
        ),
    ]


def _rows(shards: TokenShards) -> PackedRows:
    catalogue = Catalogue(shards, 0.01)
    mixture = Mixture(MixtureConfig(), catalogue, ROW_TOKENS, seed=0)
    return PackedRows(shards, Vocabulary.build().structure, mixture, 10**9, supervise_all=True)


def _bytes() -> list[Measurement]:
    """How large a shard of utterances of ordinary length is beside its tokens."""
    utterances = made_up_utterances(600)
    tokens = sum(array.nbytes for each in utterances for array in vars(each.tokens).values())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard.arrow"
        write_shard(path, token_rows(utterances))
        size = path.stat().st_size
    return [Measurement("bytes of a shard / of its tokens", size / tokens, "x", at_most=1.3)]


def _reading() -> list[Measurement]:
    """Random rows of utterances of ordinary length, planned, read and collated on one core."""
    with tempfile.TemporaryDirectory() as folder:
        rows = _rows(made_up_shards(Path(folder) / "tokens", 6000))
        rows[0]
        began = time.process_time()
        for number in range(READ_ROWS):
            collate([rows[number]])
        tokens_s = READ_ROWS * ROW_TOKENS / (time.process_time() - began)
    return [
        Measurement("one loader process", tokens_s, "tokens a second", at_least=500_000),
    ]
