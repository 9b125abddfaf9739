"""Reading what curation made: its shards as partitions, and the utterances in them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import soundfile
from numpy.typing import NDArray

from gpa.curation.shards import CURATED, index_name, read_index, read_plan
from gpa.runtime.errors import UserError
from gpa.runtime.storage import Store

# One row: a shard of a curated OUT.
SHARD_SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
    ]
)
# Audio may be this much longer or shorter than its metadata say: times are rounded.
DURATION_TOLERANCE_S = 0.05


@dataclass(frozen=True)
class CuratedShards:
    """All shards of a curated OUT, as partitions of a job that reads them.

    A partition is named after its shard and that one's content, and maps to one row of
    SHARD_SCHEMA.
    """

    store: Store
    partitions: Mapping[str, pa.Table]
    utterances: int

    @property
    def seconds(self) -> dict[str, float]:
        """Audio in each partition."""
        return {name: table["seconds"][0].as_py() for name, table in self.partitions.items()}

    def indexes(self) -> Iterator[tuple[str, pa.Table]]:
        """Each partition with its shard's part of the manifest."""
        names = {partition: partition.rpartition("-")[0] for partition in self.partitions}
        for partition in self.store.ahead(names, lambda each: [index_name(names[each])]):
            yield partition, read_index(self.store, names[partition])[0]


def find_shards(curated: str) -> CuratedShards:
    """Shards of a curated OUT, given as itself or as its folder `curated`.

    Raises UserError where there is no finished run or nothing was kept.
    """
    out = curated.rstrip("/").removesuffix(f"/{CURATED}")
    store = Store("." if out == CURATED and not Store(out).exists(CURATED) else out)
    partitions, utterances = {}, 0
    try:
        shards, _ = read_plan(store)
        for shard in store.ahead(shards, lambda shard: [shard.index]):
            index, sha256 = read_index(store, shard.name, ["duration_s"])
            uri = store.filesystem.unstrip_protocol(store.path(shard.tar))
            row = {"uri": uri, "sha256": sha256, "seconds": pc.sum(index["duration_s"]).as_py()}
            partitions[f"{shard.name}-{sha256[:12]}"] = pa.Table.from_pylist([row], SHARD_SCHEMA)
            utterances += len(index)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{curated} holds no curated shards; make them with `make curate`, or name another "
            "OUT with CURATED=."
        ) from None
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"The manifest in {curated} can't be read ({type(error).__name__}); run `make curate` "
            "again."
        ) from None
    if not utterances:
        raise UserError(f"{curated} holds no utterance: nothing was kept, so nothing to tokenize.")
    return CuratedShards(store, partitions, utterances)


@dataclass(frozen=True)
class CuratedUtterance:
    """KEY.json, and the bytes of KEY.flac, not decoded yet."""

    metadata: Mapping[str, Any]
    flac: bytes

    @property
    def recording_id(self) -> str:
        """The recording that it was cut from."""
        return self.metadata["recording_id"]

    @property
    def duration_s(self) -> float:
        """Seconds, by its metadata."""
        return self.metadata["duration_s"]

    def decode(self) -> tuple[NDArray[np.float32], int]:
        """Samples of shape (channels, samples) and their rate.

        Raises ValueError that says why there are none, or that they are not the whole utterance.
        """
        try:
            samples, rate = soundfile.read(io.BytesIO(self.flac), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            # Its own text names an address in memory, which is another one each time.
            raise ValueError(error.error_string) from None
        if abs(len(samples) / rate - self.duration_s) > DURATION_TOLERANCE_S:
            raise ValueError(f"{len(samples) / rate:.2f} s of audio for {self.duration_s:.2f} s")
        return samples.T, rate


def read_curated(curated: str) -> Iterator[CuratedUtterance]:
    """Utterances of all shards of a curated OUT, in their order; raises UserError."""
    for shard in find_shards(curated).partitions.values():
        yield from read_shard(shard)


def read_shard(shard: pa.Table) -> Iterator[CuratedUtterance]:
    """Utterances of a shard, a row of SHARD_SCHEMA, in its order.

    Raises UserError where the shard is gone or has other bytes than were written.
    """
    uri, sha256 = shard["uri"][0].as_py(), shard["sha256"][0].as_py()
    try:
        with fsspec.open(uri, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UserError(f"{uri} can't be read ({type(error).__name__}): was it moved?") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(
            f"{uri} has other bytes than its manifest says; see `gpa verify`, and curate again."
        )
    flac: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for member in tar:
            key, _, kind = member.name.partition(".")
            content = tar.extractfile(member)
            held = content.read() if content else b""
            if kind == "flac":
                flac = {key: held}
            elif kind == "json":
                yield CuratedUtterance(json.loads(held), flac.get(key, b""))
