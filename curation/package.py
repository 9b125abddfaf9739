"""Step 9, package: WebDataset shards, their manifest, and a table of everything dropped.

Two halves: a stage writes down, partition by partition, the metadata of what is kept (SELECTED);
then shards are planned over all partitions and each is written whole, in parallel. A shard is
`KEY.flac` beside `KEY.json`, adjacent; `curated/manifest.parquet` comes last, so that where it
is, all is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import Field

from gpa.runtime.artifacts import (
    ArtifactStore,
    DamageError,
    TarFiles,
    parquet_bytes,
    read_parquet,
    tar_bytes,
)
from gpa.runtime.config import Config, digest
from gpa.runtime.stage import Artifact, Attempts, Stage, rows
from gpa.runtime.storage import Store

# Version of the fields of KEY.json (docs/dataset.md); raised when one changes its meaning.
SCHEMA_VERSION = 2
CURATED = "curated"
MANIFEST = f"{CURATED}/manifest.parquet"

SELECTED = pa.schema(
    [
        pa.field("utterance_id", pa.string(), nullable=False),
        pa.field("recording_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),  # path of the recording in the corpus
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("end_s", pa.float64(), nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("speaker", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("pwer", pa.float64()),
        pa.field("confidence", pa.float64()),
        pa.field("snr_db", pa.float64(), nullable=False),
        pa.field("mos", pa.float64()),  # overall, of the kept version
        pa.field("kept_version", pa.string(), nullable=False),
        pa.field("sample_rate", pa.int32(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),  # of the FLAC
        pa.field("json", pa.string(), nullable=False),  # KEY.json
    ]
)
MANIFEST_SCHEMA = pa.schema(
    [*(field for field in SELECTED if field.name != "json"), pa.field("shard", pa.string())]
)


class PackageConfig(Config):
    """How shards are cut."""

    shard_mb: float = Field(256.0, gt=0)  # megabytes of FLAC; the last utterance may exceed it


class PackageStage(Stage):
    """Metadata of the utterances that are kept."""

    step = "package"
    version = 2

    def __init__(self, name: str, config: Config, inputs: Sequence[str], models: Mapping[str, str]):
        super().__init__(name, config, inputs)
        self._models = dict(models)

    def model_identity(self) -> str:
        """The models' names as they stand in every KEY.json."""
        return json.dumps(self._models, sort_keys=True)

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        """SELECTED, in the order of the utterances."""
        tables = {name: _by_utterance(inputs[name]) for name in inputs if name != "recordings"}
        recordings = {row["recording_id"]: row for row in rows(inputs["recordings"].table)}
        heard = sorted(name for name in inputs if name.startswith("hypotheses/"))
        selected = []
        for utterance in tables["utterances"].values():
            key = utterance["utterance_id"]
            aligned = tables["alignment"].get(key)
            if aligned is None:  # consensus dropped it, and said so
                continue
            hypotheses = {
                name.removeprefix("hypotheses/"): tables[name][key]["text"]
                for name in heard
                if key in tables[name] and tables[name][key]["error"] is None
            }
            source = recordings[utterance["recording_id"]]["path"]
            quality = tables["quality"][key]
            consensus = tables["consensus"][key]
            metadata = _metadata(
                utterance, source, quality, consensus, aligned, hypotheses, self._models
            )
            mos = metadata["mos"][quality["kept_version"]]
            selected.append(
                {
                    **metadata,
                    "snr_db": utterance["snr_db"],
                    "mos": mos["overall"] if mos else None,
                    "bytes": len(inputs["utterances"].files[audio_name(key, metadata)]),
                    "json": json.dumps(metadata, ensure_ascii=False, sort_keys=True),
                }
            )
        seconds = sum(row["duration_s"] for row in selected)
        return Artifact(pa.Table.from_pylist(selected, SELECTED), audio_s=seconds)


def _by_utterance(artifact: Artifact) -> dict[str, dict]:
    return {row["utterance_id"]: row for row in rows(artifact.table)}


def audio_name(utterance_id: str, row: Mapping[str, Any]) -> str:
    """Name of the kept version's FLAC among the files of `utterances`."""
    return f"{utterance_id}.{row['kept_version']}.flac"


def _metadata(
    utterance: dict,
    source: str,
    quality: dict,
    consensus: dict,
    aligned: dict,
    hypotheses: dict[str, str],
    models: dict[str, str],
) -> dict[str, Any]:
    """KEY.json: the fields of docs/dataset.md."""
    words = aligned["words"]
    return {
        "schema_version": SCHEMA_VERSION,
        "utterance_id": utterance["utterance_id"],
        "recording_id": utterance["recording_id"],
        "source": source,
        "start_s": utterance["start_s"],
        "end_s": utterance["end_s"],
        "duration_s": utterance["duration_s"],
        "sample_rate": utterance["sample_rate"],
        "speaker": utterance["speaker"],
        "speaker_confidence": utterance["speaker_confidence"],
        "language": consensus["language"],
        "text": aligned["text"],
        "text_before_punctuation": aligned["text_before"],
        "punctuation_edits": aligned["edits"],
        "words": words,
        "words_from": aligned["aligner"],
        "pwer": consensus["pwer"],
        "voters": consensus["voters"],
        "chosen_asr": consensus["chosen_asr"],
        "hypotheses": hypotheses,
        "confidence": consensus["confidence"],
        "kept_version": quality["kept_version"],
        "mos": {v: quality[f"{v}_mos"] for v in ("normalized", "denoised")},
        "snr_db": utterance["snr_db"],
        "models": models,
    }


@dataclass(frozen=True)
class Shard:
    """A shard to write: its name and the rows of SELECTED in it, as (partition, first, last)."""

    name: str
    parts: tuple[tuple[str, int, int], ...]

    @property
    def identity(self) -> str:
        """Names the content, given the fingerprint under which the parts were selected."""
        return digest([self.name, self.parts])


def plan_shards(sizes: Sequence[tuple[str, Sequence[int]]], shard_bytes: float) -> list[Shard]:
    """Cut utterances, in the order of partitions and rows, into shards of about one size.

    `sizes` holds, for each partition, the bytes of its utterances. Each utterance is in exactly
    one shard; a shard ends with the utterance that fills it.
    """
    shards: list[Shard] = []
    parts: list[tuple[str, int, int]] = []
    filled = 0.0

    def close() -> None:
        nonlocal parts, filled
        if parts:
            shards.append(Shard(f"shard-{len(shards):06d}", tuple(parts)))
        parts, filled = [], 0.0

    for partition, row_bytes in sizes:
        first = 0
        for index, size in enumerate(row_bytes):
            filled += size
            if filled >= shard_bytes:
                parts.append((partition, first, index + 1))
                first = index + 1
                close()
        if first < len(row_bytes):
            parts.append((partition, first, len(row_bytes)))
    close()
    return shards


class ShardWriter:
    """The actor that writes shards; see `gpa.runtime.execution.Engine.map`."""

    def __init__(self, url: str, selected: str, utterances: str, fingerprint: str):
        self._artifacts = ArtifactStore(Store(url))
        self._selected = selected  # fingerprints of the stages of these names
        self._utterances = utterances
        self._fingerprint = fingerprint

    def __call__(self, block: dict[str, Any]) -> dict[str, list[Any]]:
        shards = [
            Shard(str(name), tuple(map(tuple, json.loads(parts))))
            for name, parts in zip(block["name"], block["parts"], strict=True)
        ]
        utterances = [self._write(shard).num_rows for shard in shards]
        return {"name": [shard.name for shard in shards], "utterances": utterances}

    def _write(self, shard: Shard) -> pa.Table:
        files: dict[str, bytes] = {}
        index = []
        for partition, first, last in shard.parts:
            selected = self._artifacts.table("packaged", self._selected, partition)
            audio = self._artifacts.read("utterances", self._utterances, partition).files
            for row in rows(selected.slice(first, last - first)):
                key = row["utterance_id"]
                files[f"{key}.flac"] = audio[audio_name(key, row)]
                files[f"{key}.json"] = row.pop("json").encode()
                index.append({**row, "shard": shard.name})
        data = tar_bytes(files)
        table = pa.Table.from_pylist(index, MANIFEST_SCHEMA).replace_schema_metadata(
            {"gpa.shard_sha256": hashlib.sha256(data).hexdigest()}
        )
        store = self._artifacts.store
        store.write(f"{CURATED}/{shard.name}.tar", data)
        store.write(index_name(self._fingerprint, shard), parquet_bytes(table))
        return table


def index_name(fingerprint: str, shard: Shard) -> str:
    """Where a written shard's rows and checksum lie; its presence says the shard is whole."""
    return f"shards/{fingerprint}/{shard.name}-{shard.identity}.parquet"


def missing_shards(store: Store, fingerprint: str, shards: Sequence[Shard]) -> list[Shard]:
    """Shards still to write, after clearing away what another plan left in their place.

    A shard's name is the same under every plan, so the marks of other plans must go before a
    shard is overwritten: a mark always speaks of the bytes that lie there now.
    """
    wanted = {index_name(fingerprint, shard) for shard in shards}
    marks = {
        f"shards/{folder}/{name}"
        for folder in store.folders("shards")
        for name in store.names(f"shards/{folder}")
    }
    tars = set(store.names(CURATED))
    missing = [
        shard
        for shard in shards
        if index_name(fingerprint, shard) not in marks or f"{shard.name}.tar" not in tars
    ]
    stale_marks = marks - wanted
    stale_tars = {name for name in tars if name.endswith(".tar")} - {
        f"{shard.name}.tar" for shard in shards
    }
    if missing or stale_marks or stale_tars:
        store.remove(MANIFEST)
    for mark in sorted(stale_marks):
        store.remove(mark)
    for name in sorted(stale_tars):
        store.remove(f"{CURATED}/{name}")
    return missing


def forget_shards(store: Store) -> None:
    """Let the next run write all shards again, which costs little: nothing is decoded for it."""
    store.remove("shards")


def write_manifest(store: Store, fingerprint: str, shards: Sequence[Shard]) -> int:
    """Put the shards' rows together in `curated/manifest.parquet`; returns how many there are."""
    indexes = [
        read_parquet(store.read(index_name(fingerprint, shard)))
        for shard in store.ahead(shards, lambda shard: [index_name(fingerprint, shard)])
    ]
    checksums = {
        shard.name: index.schema.metadata[b"gpa.shard_sha256"].decode()
        for shard, index in zip(shards, indexes, strict=True)
    }
    table = pa.concat_tables(
        [MANIFEST_SCHEMA.empty_table(), *(i.replace_schema_metadata(None) for i in indexes)]
    )
    metadata = {"gpa.shards": json.dumps(checksums), "gpa.schema_version": str(SCHEMA_VERSION)}
    store.write(MANIFEST, parquet_bytes(table.replace_schema_metadata(metadata)))
    return table.num_rows


def read_manifest(store: Store) -> tuple[pa.Table, dict[str, str]]:
    """The manifest and the checksum of each shard; raises FileNotFoundError where there is none."""
    table = read_parquet(store.read(MANIFEST))
    return table, json.loads((table.schema.metadata or {}).get(b"gpa.shards", b"{}"))


def sizes_of(
    artifacts: ArtifactStore, fingerprint: str, partitions: Sequence[str]
) -> Iterator[tuple[str, list[int]]]:
    """Bytes of the kept utterances, by partition."""
    tables = artifacts.tables("packaged", fingerprint, partitions, ["bytes"])
    for partition, table in zip(partitions, tables, strict=True):
        yield partition, table.column("bytes").to_pylist()


def shard_problems(store: Store, manifest: pa.Table, shards: Mapping[str, str]) -> list[str]:
    """What is wrong with the shards, in words: bytes, members and keys against the manifest."""
    problems = []
    names = {name.removesuffix(".tar") for name in store.names(CURATED) if name.endswith(".tar")}
    problems += [
        f"{CURATED}/{name}.tar is in no manifest" for name in sorted(names - shards.keys())
    ]
    listed: dict[str, list[str]] = {name: [] for name in shards}
    for name, key in zip(
        *(manifest[c].to_pylist() for c in ("shard", "utterance_id")), strict=True
    ):
        listed.setdefault(name, []).extend(f"{key}.{kind}" for kind in ("flac", "json"))
    for name, checksum in shards.items():
        try:
            members = list(TarFiles(store, f"{CURATED}/{name}.tar", checksum))
        except DamageError as damage:
            problems.append(str(damage))
            continue
        if members != listed[name]:
            problems.append(f"{CURATED}/{name}.tar holds other utterances than the manifest says")
    return problems
