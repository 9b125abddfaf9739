"""Runs the tokenize job: lock, stage, index, card and the report of totals."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console

from gpa.runtime import attempts
from gpa.runtime.config import Config, parse, read_yaml
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Engine, Resources
from gpa.runtime.lock import only_run
from gpa.runtime.recipe import Recipe, fingerprints
from gpa.runtime.record import RunRecord
from gpa.runtime.stage import Artifact, rows
from gpa.runtime.storage import ArtifactStore, Store, TarFiles, parquet_bytes
from gpa.tokenize.job import TokenizerConfig, TokenizeStage, curated_shards
from gpa.tokenize.shards import TOKENS_SUFFIX, Provenance, TokenShards, index_rows_table
from gpa.tokenize.small import NOTICE
from gpa.tokenize.vocabulary import Vocabulary

STAGE = "tokens"
VOCABULARY = "vocabulary"
CODEBOOKS = {"glm_tokens": 16384, "semantic_tokens": 8192, "global_tokens": 4096}
# Codebook usage is counted over this many utterances, spread evenly over the index.
COUNTED_UTTERANCES = 20_000


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
    nearest = difflib.get_close_matches(name, config.tokenizers, n=1)
    known = ", ".join(config.tokenizers)
    advice = f"did you mean {nearest[0]!r}?" if nearest else f"pipelines.yaml has {known}."
    raise UserError(f"There is no tokenizer {name!r}; {advice}")


def tokenize(
    curated: str, out: Path, tokenizer: TokenizerConfig, resources: Resources, console: Console
) -> dict[str, Any]:
    """Tokenize all curated shards into `out`; returns the content of `report.json`.

    Raises UserError before any work where shards or checkpoints are missing. What was tokenized
    before is not tokenized again.
    """
    partitions = curated_shards(curated)
    stage = TokenizeStage(STAGE, tokenizer, ["curated"])
    models = stage.models()
    store = Store(str(out))
    with only_run(store), Engine(resources) as engine:
        artifacts = ArtifactStore(store)
        record = RunRecord(store, {"pipeline": "tokenize", "curated": curated})
        if not tokenizer.trained:
            console.print(f"[yellow]Tokens are {NOTICE}.[/yellow]")
        named = fingerprints([stage], {"curated": "1"})
        for partition, table in partitions.items():
            artifacts.write("curated", "1", partition, Artifact(table))
        seconds = {name: table["seconds"][0].as_py() for name, table in partitions.items()}
        Recipe(artifacts, engine, record, console).make(stage, named, seconds)
        provenance = Provenance(
            text_digest=Vocabulary.build().text_digest,
            bicodec=models["bicodec"].identity,
            glm=models["glm"].identity,
            trained=tokenizer.trained,
        )
        index = index_rows_table(_index_rows(artifacts, named[STAGE], list(partitions)), provenance)
        store.write("index.parquet", parquet_bytes(index))
        Vocabulary.build().save(out / VOCABULARY)
        rejected = _rejects(artifacts, named[STAGE], list(partitions))
        store.write("rejected.parquet", parquet_bytes(rejected))
        report = totals(TokenShards(out), rejected, provenance, record.content["stages"][STAGE])
        store.write("report.json", json.dumps(report, indent=1).encode())
        store.write("README.md", _card(report, provenance).encode())
        store.remove(attempts.FOLDER)
        record.finish()
    _show(report, out, console)
    return report


def _index_rows(
    artifacts: ArtifactStore, fingerprint: str, partitions: Sequence[str]
) -> Iterator[Mapping[str, Any]]:
    """Rows of the index, each with the place of its tokens in its tar."""
    for partition in partitions:
        shard = f"{STAGE}/{fingerprint}/{partition}.tar"
        tar = TarFiles(artifacts.store, shard)
        for row in rows(artifacts.table(STAGE, fingerprint, partition)):
            offset, size = tar.place(f"{row['utterance_id']}{TOKENS_SUFFIX}")
            yield {**row, "shard": shard, "offset": offset, "bytes": size}


def _rejects(artifacts: ArtifactStore, fingerprint: str, partitions: Sequence[str]) -> pa.Table:
    return pa.concat_tables(
        [artifacts.rejects(STAGE, fingerprint, partition) for partition in partitions]
    )


def totals(
    shards: TokenShards, rejected: pa.Table, provenance: Provenance, stage: Mapping[str, Any]
) -> dict[str, Any]:
    """Hours, tokens of each kind, speed, and how the codebooks are used."""
    index = shards.index
    counts = {
        kind: int(np.sum(index[kind].to_numpy()))
        for kind in ("text_tokens", "glm_tokens", "semantic_tokens")
    }
    all_tokens = sum(counts.values()) + 32 * len(shards)
    return {
        "notice": None if provenance.trained else NOTICE,
        "utterances": len(shards),
        "rejected": rejected.num_rows,
        "seconds": round(float(np.sum(index["duration_s"].to_numpy())), 3),
        "seconds_rejected": round(float(np.sum(rejected["seconds"].to_numpy())), 3),
        "tokens": {**counts, "global_tokens": 32 * len(shards), "all": all_tokens},
        "tokens_per_worker_s": round(all_tokens / max(stage["worker_s"], 1e-9), 1),
        "codebooks": codebook_use(shards),
        "provenance": asdict(provenance),
    }


def codebook_use(shards: TokenShards) -> dict[str, dict[str, float]]:
    """Of each codebook: how many codes occur, and the perplexity of their distribution.

    Perplexity is 2 to the entropy in bits: the number of codes that would be used, if all were
    used equally.
    """
    step = max(1, len(shards) // COUNTED_UTTERANCES)
    counted = {kind: np.zeros(size, np.int64) for kind, size in CODEBOOKS.items()}
    for row in range(0, len(shards), step):
        tokens = shards.tokens(row)
        for kind, count in counted.items():
            count += np.bincount(getattr(tokens, kind), minlength=len(count))
    return {
        kind: {
            "codes": len(count),
            "used": int(np.count_nonzero(count)),
            "perplexity": round(perplexity(count), 1),
        }
        for kind, count in counted.items()
    }


def perplexity(counts: NDArray[np.int64]) -> float:
    """2 to the entropy, in bits, of a distribution given by counts; 0 where nothing was counted."""
    if not counts.sum():
        return 0.0
    share = counts[counts > 0] / counts.sum()
    return float(2 ** -(share * np.log2(share)).sum())


def _card(report: Mapping[str, Any], provenance: Provenance) -> str:
    warning = "" if provenance.trained else f"**Warning: {NOTICE}.**\n\n"
    return (
        f"# Token shards\n\n{warning}"
        f"{report['utterances']} utterances, {report['seconds'] / 3600:.2f} h, "
        f"{report['tokens']['all']:,} tokens.\n\n"
        f"- BiCodec: `{provenance.bicodec}`\n- GLM: `{provenance.glm}`\n"
        f"- text vocabulary: `{provenance.text_digest}`\n\n"
        "`index.parquet` says where in which tar each utterance's tokens lie; `vocabulary/` is "
        "the tokenizer as a `transformers` folder; `rejected.parquet` what has no tokens, and why.\n"
    )


def _show(report: Mapping[str, Any], out: Path, console: Console) -> None:
    tokens = report["tokens"]
    console.print(
        f"{report['utterances']} utterances, {report['seconds'] / 60:.2f} min, "
        f"{tokens['all']:,} tokens: {tokens['text_tokens']:,} text, {tokens['glm_tokens']:,} GLM, "
        f"{tokens['semantic_tokens']:,} semantic, {tokens['global_tokens']:,} global; "
        f"{report['rejected']} utterances rejected"
    )
    for kind, use in report["codebooks"].items():
        console.print(
            f"  {kind:<16} {use['used']} of {use['codes']} codes, perplexity {use['perplexity']}"
        )
    console.print(f"Token shards: {out}")
