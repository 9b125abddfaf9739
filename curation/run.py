"""`gpa curate`: the whole recipe from a corpus to shards, and `gpa verify`, its auditor."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from rich.console import Console

from gpa.curation import close as closing
from gpa.curation import shards
from gpa.curation.doctor import examine
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
from gpa.curation.report import books, summary
from gpa.curation.report.audit import audit
from gpa.curation.report.outputs import CORPUS_TABLE, Run
from gpa.curation.report.write import SAMPLES, write_report
from gpa.curation.waves import Wave, prune, waves
from gpa.runtime import attempts, record
from gpa.runtime.artifacts import ArtifactStore, parquet_bytes
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Engine
from gpa.runtime.lock import only_run
from gpa.runtime.recipe import Recipe, fingerprints
from gpa.runtime.record import RunRecord
from gpa.runtime.stage import Stage
from gpa.runtime.storage import Store

# Files that could not be read, which the end of a run names.
SHOWN_NOT_READ = 5


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
        files = corpus.find(corpus_url, config.ingest.allow_outside, console.print)
        if all(file.error and not file.claimed and not file.not_read for file in files):
            raise NoAudioError(corpus_url)
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
            found, not_read = _ingest(files, config, recipe)
            if all(state == "ignored" for state in found.table["state"].to_pylist()):
                raise NoAudioError(corpus_url)
            named = fingerprints(stages, {"recordings": RECORDINGS_FINGERPRINT})
            seconds = {
                partition: sum(table["duration_s"].to_pylist())
                for partition, table in found.partitions.items()
            }
            run.content["fingerprints"] = named
            planned = waves(artifacts, stages, named, seconds, config.resources.wave_hours)
            plan = shards.Plan(artifacts, named["packaged"], seconds, config.package.shard_mb * 1e6)
            made: list[str] = []
            for number, wave in enumerate(planned, start=1):
                if len(planned) > 1:
                    hours = sum(wave.seconds.values()) / 3600
                    console.print(f"wave {number} of {len(planned)}: {hours:,.2f} h")
                not_read |= _make(wave, made, plan, stages, config, recipe)
                made += wave.seconds
            # Without those of which storage did not give a recording: the next run makes them.
            run.content["partitions"] = made
            if len(made) < len(found.partitions):
                left_out = ingest.waiting(found.table, made, not_read)
                store.write(CORPUS_TABLE, parquet_bytes(left_out))
            account = closing.close(
                Run(artifacts, run.content, partial=False), engine, config.resources.pool("package")
            )
        result = _report(Run(artifacts, run.content, partial=False), account)
        run.finish()
    summary.show(result, account, out, console)
    _show_not_read(not_read, console)
    return result


class NoAudioError(UserError):
    """A corpus in which nothing is a recording, or was meant to be one."""

    def __init__(self, corpus_url: str):
        super().__init__(f"Corpus {corpus_url} holds no audio file; name a folder with recordings.")


def _show_not_read(not_read: Mapping[str, str], console: Console) -> None:
    """Say which files storage did not give."""
    if not_read:
        first = "; ".join(f"{uri}: {why}" for uri, why in list(not_read.items())[:SHOWN_NOT_READ])
        more = len(not_read) - SHOWN_NOT_READ
        rest = f"; and {more} more (state `not_read` in {CORPUS_TABLE})" if more > 0 else ""
        console.print(
            f"Not read in this run: {first}{rest}. The same command goes on from here and tries "
            "them again.",
            style="red",
            markup=False,
            soft_wrap=True,
        )


def _ingest(
    files: Sequence[corpus.RawFile], config: PipelineConfig, recipe: Recipe
) -> tuple[ingest.Corpus, dict[str, str]]:
    """Probe what is new, give every file its state, and write the partitions' tables.

    Also returns why files were not read, by address.
    """
    artifacts, chunks = recipe.artifacts, ingest.chunks(files)
    broken = _probe(chunks, recipe)
    alone = {
        name: table for chunk in broken for name, table in ingest.one_by_one(chunks[chunk]).items()
    }
    still_broken = _probe(alone, recipe) if alone else {}
    not_read = {uri: reason for why in still_broken.values() for uri, reason in why.items()}
    fingerprint = ingest.probe_stage().fingerprint({"listing": ingest.LISTING_FINGERPRINT})
    whole = [name for name in [*chunks, *alone] if name not in broken and name not in still_broken]
    found = ingest.arrange(
        files,
        pa.concat_tables(
            [ingest.PROBED.empty_table(), *artifacts.tables("probed", fingerprint, whole)]
        ),
        not_read,
        config.ingest,
        ingest.arranged(artifacts.store),
    )
    done = artifacts.done("recordings", RECORDINGS_FINGERPRINT, found.partitions)
    artifacts.write_tables(
        "recordings",
        RECORDINGS_FINGERPRINT,
        {name: table for name, table in found.partitions.items() if name not in done},
    )
    artifacts.store.write(CORPUS_TABLE, parquet_bytes(found.table))
    artifacts.store.write(ingest.ARRANGED_TABLE, parquet_bytes(found.partitions.arranged()))
    return found, not_read | {file.uri: file.error or "" for file in files if file.not_read}


def _probe(chunks: Mapping[str, pa.Table], recipe: Recipe) -> dict[str, Mapping[str, str]]:
    """Probe what is new of the chunks; returns those with a file that storage did not give."""
    artifacts = recipe.artifacts
    stage, listed = ingest.probe_stage(), {"listing": ingest.LISTING_FINGERPRINT}
    there = artifacts.done("listing", listed["listing"], chunks)
    new = {chunk: table for chunk, table in chunks.items() if chunk not in there}
    artifacts.write_tables("listing", listed["listing"], new)
    return recipe.make(stage, fingerprints([stage], listed), dict.fromkeys(chunks, 0.0))


def _make(
    wave: Wave,
    before: Sequence[str],
    plan: shards.Plan,
    stages: Sequence[Stage],
    config: PipelineConfig,
    recipe: Recipe,
) -> dict[str, str]:
    """Take a wave through all steps, its shards included; returns why files were not read.

    `before` are the partitions of the waves before.
    """
    artifacts, run = recipe.artifacts, recipe.record
    named, partitions = run.content["fingerprints"], list(wave.seconds)
    # Before the work, so that a report can be made of a run in progress.
    run.content["partitions"] = [*before, *partitions]
    run.save()
    if run.content["pruned"]:
        packaged = [name for name in partitions if name not in wave.missing["packaged"]]
        wave.hear_again(artifacts, stages, named, plan.waiting_for(partitions, packaged))
    not_read = wave.make(recipe, stages, named)
    unwritten = plan.extend(partitions, list(wave.seconds))
    shards.write(recipe.engine, artifacts, named, unwritten, config.resources.pool("package"))
    if config.resources.keep == "tables":
        run.content["pruned"] = True
        run.save()
        prune(artifacts, named, wave.seconds)
    return not_read


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
        for partition, problem in artifacts.damaged(
            name, fingerprint, content["partitions"], content.get("pruned", False)
        ):
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
