"""`gpa curate`: the whole recipe from a corpus to shards, and `gpa verify`, its auditor."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pyarrow as pa
from rich.console import Console

from gpa.curation import close as closing
from gpa.curation import shards
from gpa.curation.ingest import corpus
from gpa.curation.ingest import stage as ingest
from gpa.curation.pipeline import (
    RECORDINGS_FINGERPRINT,
    PipelineConfig,
    build_stages,
    model_table,
    models,
    package_stage,
)
from gpa.curation.preflight import examine
from gpa.curation.report import books, summary
from gpa.curation.report.audit import audit
from gpa.curation.report.outputs import CORPUS_TABLE, Run
from gpa.curation.report.write import SAMPLES, write_report
from gpa.runtime import attempts, record
from gpa.runtime.artifacts import ArtifactStore, parquet_bytes
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Engine
from gpa.runtime.lock import only_run
from gpa.runtime.recipe import Recipe, fingerprints
from gpa.runtime.record import RunRecord
from gpa.runtime.stage import rows
from gpa.runtime.storage import Store


def curate(corpus_url: str, out: str, name: str, config: PipelineConfig, console: Console) -> dict:
    """Run a pipeline on a corpus; returns the content of `report/summary.json`.

    Raises UserError before any work where something is missing or misspelt; a run that was
    interrupted goes on where it ended.
    """
    store = Store(out)
    artifacts = ArtifactStore(store)
    with only_run(store), artifacts.forgetting_damage():
        stages = build_stages(config)
        examine(stages, store, config.resources)
        stages.append(package_stage(config, stages))
        files = corpus.find(corpus_url, config.ingest.allow_outside)
        if not any(file.claimed for file in files):
            raise UserError(
                f"Corpus {corpus_url} holds no audio file; name a folder with recordings."
            )
        run = RunRecord(
            store,
            {
                "pipeline": name,
                "corpus": corpus_url,
                "config": config.model_dump(mode="json"),
                "models": model_table(models(stages)),
            },
        )
        console.print(f"[bold]{name}[/bold]: {config.description}")
        console.print(f"{len(files)} files in {corpus_url}", markup=False, soft_wrap=True)
        with attempts.forgotten(store), Engine(config.resources) as engine:
            recipe = Recipe(artifacts, engine, run, console)
            found = _ingest(files, config, artifacts, recipe)
            named = fingerprints(stages, {"recordings": RECORDINGS_FINGERPRINT})
            seconds = {
                partition: sum(table["duration_s"].to_pylist())
                for partition, table in found.partitions.items()
            }
            # Before the work, so that a report can be made of a run in progress.
            run.content.update(fingerprints=named, partitions=list(found.partitions))
            run.save()
            for stage in stages:
                recipe.make(stage, named, seconds)
            pool, shard_bytes = config.resources.pool("package"), config.package.shard_mb * 1e6
            shards.write(engine, artifacts, named, list(found.partitions), shard_bytes, pool)
            made = Run(artifacts, run.content, partial=False)
            account = closing.close(made, engine, pool)
        result = _report(made, account)
        run.finish()
    summary.show(result, account, out, console)
    return result


def _ingest(
    files: Sequence[corpus.RawFile],
    config: PipelineConfig,
    artifacts: ArtifactStore,
    recipe: Recipe,
) -> ingest.Corpus:
    """Probe what is new, give every file its state, and write the partitions' tables."""
    stage = ingest.probe_stage()
    listed = {"listing": ingest.LISTING_FINGERPRINT}
    chunks = ingest.chunks(files)
    there = artifacts.done("listing", listed["listing"])
    artifacts.write_tables(
        "listing",
        listed["listing"],
        {chunk: table for chunk, table in chunks.items() if chunk not in there},
    )
    named = fingerprints([stage], listed)
    recipe.make(stage, named, dict.fromkeys(chunks, 0.0))
    probed = (
        row
        for table in artifacts.tables("probed", named["probed"], list(chunks))
        for row in rows(table)
    )
    found = ingest.arrange(probed, config.ingest)
    done = artifacts.done("recordings", RECORDINGS_FINGERPRINT)
    written = [partition for partition in found.partitions if partition in done]
    tables = artifacts.tables("recordings", RECORDINGS_FINGERPRINT, written)
    unchanged = {
        partition
        for partition, table in zip(written, tables, strict=True)
        if table.equals(found.partitions[partition])
    }
    # The same recordings may have moved since: then only their places are written anew.
    artifacts.write_tables(
        "recordings",
        RECORDINGS_FINGERPRINT,
        {name: table for name, table in found.partitions.items() if name not in unchanged},
    )
    artifacts.store.write(CORPUS_TABLE, parquet_bytes(found.table))
    return found


def _report(made: Run, account: books.Books) -> dict:
    """Write the report; returns what the run amounts to."""
    audited = audit(made, SAMPLES)
    result = summary.summarise(account, audited.agreement, made.content)
    write_report(made, audited, summarised=result)
    return result


def verify(out: str, repair: bool = False) -> list[str]:
    """Everything that is wrong with an OUT, in words; empty where all is whole and balanced.

    With `repair` damaged artifacts and shards are taken away, so that the next run makes them
    again. Raises UserError where there is no finished run.
    """
    store = Store(out)
    content = record.require(store)
    artifacts = ArtifactStore(store)
    problems = []
    for name, fingerprint in content["fingerprints"].items():
        for partition, problem in artifacts.damaged(name, fingerprint, content["partitions"]):
            problems.append(problem)
            if repair:
                artifacts.remove(name, fingerprint, partition)
    problems += _damaged_shards(store, repair)
    if not problems:
        problems += _differences(Run(artifacts, content, partial=False))
    return problems


def _damaged_shards(store: Store, repair: bool) -> Iterator[str]:
    """What is wrong with the shards, in words; with `repair` those are forgotten."""
    try:
        planned, _ = shards.read_plan(store)
    except (OSError, pa.ArrowException) as error:
        yield f"{shards.PLAN} can't be read ({type(error).__name__})"
        return
    yield from shards.stray_files(store, planned)
    for shard in planned:
        if problem := shards.shard_problem(store, shard):
            yield problem
            if repair:
                store.remove(shard.index)


def _differences(made: Run) -> Iterator[str]:
    """Where the books of a whole OUT do not balance, in words."""
    try:
        account = closing.recount(made)
        kept_s = json.loads(made.artifacts.store.read(summary.NAME))["seconds"]["kept"]
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        yield f"a table of {made.artifacts.store.url} can't be read: {error}"
        return
    yield from account.differences
    if abs(kept_s - account.kept_s) > books.TOLERANCE_S:
        yield f"{summary.NAME} says {kept_s} s kept, not {account.kept_s}"
