"""Runs `gpa tokenize`, on the runtime that curation runs on: lock, stage, index, report, card."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console

from gpa.curation.curated import find_shards
from gpa.curation.doctor import Finding
from gpa.curation.shards import PLAN
from gpa.runtime import attempts
from gpa.runtime.artifacts import ArtifactStore, parquet_bytes
from gpa.runtime.config import Config, did_you_mean, parse, read_yaml
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Engine, Resources
from gpa.runtime.lock import only_run
from gpa.runtime.recipe import Recipe, fingerprints
from gpa.runtime.record import RunRecord
from gpa.runtime.stage import REJECT_SCHEMA
from gpa.runtime.storage import Store
from gpa.tokenize.job import TokenizeStage
from gpa.tokenize.licences import consequence
from gpa.tokenize.report import card, show, totals
from gpa.tokenize.shards import VOCABULARY, Provenance, TokenShards, write_index
from gpa.tokenize.small import NOTICE
from gpa.tokenize.vocabulary import Vocabulary
from gpa.tokenize.weights import TokenizerConfig, on_this_machine, weights_licence

STAGE = "tokens"
REJECTED = "rejected.parquet"
REPORT = "report.json"
CARD = "README.md"


class TokenizeConfig(Config):
    """The section `tokenize` of pipelines.yaml: tokenizers by name, and what they run on."""

    tokenizers: dict[str, TokenizerConfig]
    resources: Resources = Resources()


def read_config(file: Path) -> TokenizeConfig:
    """The section `tokenize`; raises UserError."""
    return parse(TokenizeConfig, read_yaml(file).get("tokenize"), f"{file}, section tokenize")


def choose(config: TokenizeConfig, name: str) -> TokenizerConfig:
    """The tokenizers of that name; raises UserError that names the nearest."""
    if name in config.tokenizers:
        return config.tokenizers[name]
    known = list(config.tokenizers)
    advice = did_you_mean(name, known, f"the config file has {', '.join(known)}.")
    raise UserError(f"There is no tokenizer {name!r}; {advice}")


def findings(config_file: Path) -> Iterator[Finding]:
    """What `gpa doctor` says of tokenizers: licence, where the weights are, and what follows."""
    if "tokenize" not in read_yaml(config_file):
        return
    for name, tokenizer in read_config(config_file).tokenizers.items():
        for weights in dict.fromkeys((tokenizer.bicodec, tokenizer.glm)):
            licence = weights_licence(weights)
            here = on_this_machine(weights)
            where = "on this machine" if here else f"not here: `hf download {weights}`"
            said = [f"{weights}: {licence}", where, consequence(licence)]
            yield Finding(f"tokenizer/{name}", "; ".join(filter(None, said)))


def tokenize(
    curated: str, out: Path, tokenizer: TokenizerConfig, resources: Resources, console: Console
) -> dict[str, Any]:
    """Tokenize all curated shards into `out`; returns the content of `report.json`.

    Raises UserError before any work where shards or checkpoints are missing. What was tokenized
    before is not tokenized again. The index comes last of what training reads: where it is, all
    is there.
    """
    store = Store(str(out))
    if store.exists(PLAN):
        raise UserError(f"{out} is the OUT of a curation; choose another folder for the tokens.")
    shards = find_shards(curated)
    if resources.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    stage = TokenizeStage(STAGE, tokenizer, ["curated"])
    models = stage.models()
    provenance = Provenance(
        text_digest=Vocabulary.build().text_digest,
        bicodec=models["bicodec"].identity,
        glm=models["glm"].identity,
        trained=tokenizer.trained,
    )
    if not provenance.trained:
        console.print(f"[yellow]Tokens are {NOTICE}.[/yellow]")
        console.print("Trained ones: TOKENIZER=published; `gpa doctor` says where its weights are.")
    with only_run(store), attempts.forgotten(store), Engine(resources) as engine:
        artifacts = ArtifactStore(store)
        record = RunRecord(store, {"pipeline": "tokenize", "curated": curated})
        # A partition's name holds its shard's checksum, so nothing more need be known of it.
        named = fingerprints([stage], {"curated": "1"})
        artifacts.write_tables("curated", "1", shards.partitions)
        Recipe(artifacts, engine, record, console).make(stage, named, shards.seconds)

        worker_s = record.content["stages"][STAGE]["worker_s"]
        report = close(artifacts, named[STAGE], list(shards.partitions), provenance, worker_s)
        report["licences"] = {model: facts.licence for model, facts in models.items()}
        store.write(REPORT, json.dumps(report, indent=1).encode())
        store.write(CARD, card(report).encode())
        record.finish()
    show(report, console)
    console.print(f"Token shards: {out}")
    return report


def close(
    artifacts: ArtifactStore,
    made: str,
    partitions: Sequence[str],
    provenance: Provenance,
    worker_s: float,
) -> dict[str, Any]:
    """Write what was rejected and, last, the index of all shards; returns their totals.

    `made` is the fingerprint of the shards.
    """
    store, out = artifacts.store, Path(artifacts.store.url)
    dropping = artifacts.dropping(STAGE, made, partitions)
    rejected = pa.concat_tables(
        [
            REJECT_SCHEMA.empty_table(),
            *(artifacts.rejects(STAGE, made, name) for name in partitions if name in dropping),
        ]
    )
    Vocabulary.build().save(out / VOCABULARY)
    store.write(REJECTED, parquet_bytes(rejected))
    write_index(out, _index_rows(artifacts, made, partitions), provenance)
    return totals(TokenShards(out), rejected, worker_s)


def _index_rows(
    artifacts: ArtifactStore, fingerprint: str, partitions: Sequence[str]
) -> Iterator[Mapping[str, Any]]:
    """Rows of the index: what each shard says of itself."""
    tables = artifacts.tables(STAGE, fingerprint, partitions)
    for partition, table in zip(partitions, tables, strict=True):
        yield {
            "shard": artifacts.name(STAGE, fingerprint, partition, ".arrow"),
            "sha256": table.schema.metadata[b"gpa.arrow_sha256"].decode(),
            **table.to_pylist()[0],
        }
