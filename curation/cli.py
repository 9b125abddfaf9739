"""`gpa` for curation: run, plan, check and audit it. What is heavy is imported by the command that needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from gpa.runtime.errors import UserError
from gpa.runtime.options import ConfigFile, Pipeline, console

app = typer.Typer()


@contextmanager
def _extra(name: str) -> Iterator[None]:
    """Importing what the command of that name needs, which its extra installs."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"`gpa {name}` needs {error.name}; install it with `pip install 'gpa[{name}]'`."
        ) from None


@app.command()
def curate(
    corpus: Annotated[
        str,
        typer.Option(
            help="Folder, fsspec URL, manifest, tar or Parquet (docs/inputs.md); default: the sample corpus."
        ),
    ] = "",
    out: Annotated[str, typer.Option(help="Folder or fsspec URL for all that is made.")] = "out",
    pipeline: Pipeline = "laptop",
    *,
    config: ConfigFile,
) -> None:
    """Turn raw recordings into curated WebDataset shards, and say what was dropped and why."""
    from gpa.curation import run
    from gpa.curation.ingest import sample
    from gpa.curation.pipeline import read_pipeline

    settings = read_pipeline(config, pipeline)
    if not corpus:
        corpus = str(sample.write(Path("sample")))
    run.curate(corpus, out, pipeline, settings, console)


@app.command()
def plan(
    corpus: Annotated[
        str, typer.Option(help="Folder, fsspec URL, manifest, tar or Parquet: is probed.")
    ] = "",
    hours: Annotated[
        float | None,
        typer.Option(help="Instead of a corpus: this much audio, by the config's assumed rates."),
    ] = None,
    cpus: Annotated[int, typer.Option(help="With --hours: cores of the cluster.")] = 64,
    gpus: Annotated[int, typer.Option(help="With --hours: GPUs of the cluster.")] = 8,
    out: Annotated[str, typer.Option(help="Where the run would write; nothing is.")] = "out",
    pipeline: Pipeline = "laptop",
    minutes: Annotated[float, typer.Option(help="How much audio to try it on.", min=0.1)] = 5.0,
    *,
    config: ConfigFile,
) -> None:
    """Say what a run would take and keep: hours, CPU, GPU, disk, by stage."""
    from gpa.curation.pipeline import read_pipeline
    from gpa.curation.prepare import forecast as forecaster
    from gpa.curation.prepare import plan as planner

    settings = read_pipeline(config, pipeline)
    if (hours is None) == (not corpus):
        raise UserError("Name a corpus to probe with --corpus, or a size with --hours.")
    if hours is not None:
        reckoned = forecaster.forecast_pipeline(settings, hours, cpus, gpus)
        forecaster.show(reckoned, settings.resources.wave_hours, console)
        return
    found = planner.plan(corpus, out, pipeline, settings, minutes, console)
    planner.show(found, out, console)


@app.command()
def doctor(
    pipeline: Pipeline = "laptop",
    out: Annotated[str, typer.Option(help="Where a run would write.")] = "out",
    load: Annotated[bool, typer.Option(help="Load every model once, as a worker would.")] = False,
    *,
    config: ConfigFile,
) -> None:
    """Check every model, library, permission and device that a pipeline needs."""
    from gpa.curation import doctor as examiner
    from gpa.curation.pipeline import build_stages, read_pipeline
    from gpa.runtime.storage import Store

    settings = read_pipeline(config, pipeline)
    stages = build_stages(settings)
    well = examiner.show(config, stages, Store(out), settings.resources, console)
    examiner.show_others(config, console)
    if not well:
        raise typer.Exit(1)
    if load:
        examiner.load(stages, console)


@app.command()
def fetch(pipeline: Pipeline = "laptop", *, config: ConfigFile) -> None:
    """Download all weights of a pipeline once, for machines that will run without a network."""
    from gpa.curation.pipeline import build_stages, read_pipeline
    from gpa.curation.prepare import fetch as fetching

    settings = read_pipeline(config, pipeline)
    if not fetching.fetch(build_stages(settings), settings.resources, console):
        raise typer.Exit(1)


@app.command()
def verify(
    out: Annotated[str, typer.Argument(help="The OUT of a finished run.")],
    repair: Annotated[
        bool, typer.Option(help="Take away what is damaged; `gpa curate` then makes it again.")
    ] = False,
) -> None:
    """Check that the books balance and that every shard and table is whole."""
    from gpa.curation import run

    problems = run.verify(out, repair)
    for problem in problems:
        console.print(problem, markup=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)
    console.print(f"{out}: the books balance, and every shard and table is whole.", markup=False)


@app.command()
def prune(
    out: Annotated[str, typer.Argument(help="The OUT of a finished run.")],
) -> None:
    """Delete the audio between the steps; tables and shards stay, and it can be made again."""
    from gpa.curation import waves

    console.print(f"{waves.prune_all(out):,} files of audio deleted.")


@app.command()
def compare(
    before: Annotated[str, typer.Argument(help="The OUT of one run.")],
    after: Annotated[str, typer.Argument(help="The OUT of another.")],
    table: Annotated[
        Path | None, typer.Option(help="Parquet file for all that changed sides.")
    ] = None,
) -> None:
    """Show two runs side by side: config, hours, and which utterances changed sides and why."""
    from gpa.curation.report import compare as comparison

    comparison.run(before, after, table, console)


@app.command()
def export(
    curated: Annotated[str, typer.Argument(help="The OUT of a finished run.")],
    to: Annotated[str, typer.Option(help="parquet, lhotse, nemo, kaldi or emilia.")],
    out: Annotated[str, typer.Option(help="Folder or fsspec URL for the export.")],
    where: Annotated[
        str | None,
        typer.Option(help="SQL condition, such as \"language = 'en' and pwer < 0.05\"."),
    ] = None,
    buckets: Annotated[
        str, typer.Option(help="For nemo: seconds at which buckets end, such as 5,10,20.")
    ] = "",
    contamination: Annotated[
        Path | None,
        typer.Option(help="Folder of a test set: what also stands there is left out."),
    ] = None,
    repeats: Annotated[
        Literal["list", "drop"] | None,
        typer.Option(help="What is heard a second time is listed, or left out, too."),
    ] = None,
) -> None:
    """Write curated utterances in the format of another trainer."""
    with _extra("export"):
        from gpa.curation.export.run import export as run_export
    try:
        ends_s = [float(each) for each in buckets.split(",") if each.strip()]
    except ValueError:
        raise UserError(f"--buckets takes seconds, such as 5,10,20, not {buckets!r}.") from None
    run_export(curated, to, out, where, console, ends_s, contamination, repeats)


@app.command()
def explore(
    out: Annotated[str, typer.Argument(help="The OUT of a run, finished or not.")],
    reviewer: Annotated[str, typer.Option(help="Who gives the verdicts.")] = "",
    host: Annotated[str, typer.Option(help="Whom it listens to; there is no login.")] = "127.0.0.1",
    port: Annotated[int, typer.Option()] = 8100,
) -> None:
    """Look through all utterances in the browser: filter, listen, correct, download."""
    with _extra("explore"):
        from gpa.curation.explore import app as explorer
    explorer.explore(out, host, port, reviewer, console)
