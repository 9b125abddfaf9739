"""The `gpa` command: one function a subcommand, each a thin face of a function elsewhere."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from gpa.runtime.errors import UserError
from gpa.runtime.execution import QUIET

# Before any library that reads them is imported.
os.environ.update(QUIET)
os.environ.setdefault("OMP_NUM_THREADS", "1")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Raw speech recordings in, audited training data and a model of speech out.",
)
# Into a file or a pipe nothing is folded: lines are for grep there.
console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())

ConfigFile = Annotated[Path, typer.Option("--config", help="The file with the pipelines.")]
Pipeline = Annotated[str, typer.Option(help="Which pipeline of the config file.")]
PIPELINES = Path("pipelines.yaml")
# By section: the module whose `bench` measures it.
BENCHES = {
    "curation": "gpa.curation.bench",
    "engine": "gpa.runtime.bench_engine",
    "pipeline": "gpa.curation.bench_pipeline",
    "plan": "gpa.curation.bench_plan",
    "scale": "gpa.curation.bench_scale",
    "tokenize": "gpa.tokenize.bench",
    "train": "gpa.train.bench",
}
Checkpoint = Annotated[
    Path, typer.Option(help="A checkpoint, or the folder of a run for its last one.")
]
LAST_RUN = Path("checkpoints/tiny-pretrain")
TokenizerName = Annotated[str, typer.Option(help="Which entry of tokenize.tokenizers.")]
VoiceFile = Annotated[Path, typer.Option(help="Speech of whoever is to be heard.")]
WavFile = Annotated[Path, typer.Option(help="WAV file to write.")]
# The exit status into which typer turns Ctrl-C.
INTERRUPTED = 130


@app.command()
def curate(
    corpus: Annotated[
        str,
        typer.Option(
            help="Folder, fsspec URL, or JSONL or CSV manifest; default: the sample corpus."
        ),
    ] = "",
    out: Annotated[str, typer.Option(help="Folder or fsspec URL for all that is made.")] = "out",
    pipeline: Pipeline = "laptop",
    config: ConfigFile = PIPELINES,
) -> None:
    """Turn raw recordings into curated WebDataset shards, and say what was dropped and why."""
    from gpa.curation import run, sample
    from gpa.curation.pipeline import read_pipeline

    settings = read_pipeline(config, pipeline)
    if not corpus:
        corpus = str(sample.write(Path("sample")))
    run.curate(corpus, out, pipeline, settings, console)


@app.command()
def plan(
    corpus: Annotated[
        str, typer.Option(help="Folder, fsspec URL, or JSONL or CSV manifest: is probed.")
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
    config: ConfigFile = PIPELINES,
) -> None:
    """Say what a run would take and keep: hours, CPU, GPU, disk, by stage."""
    from gpa.curation import forecast as forecaster
    from gpa.curation import plan as planner
    from gpa.curation.pipeline import forecast_pipeline, read_pipeline

    settings = read_pipeline(config, pipeline)
    if (hours is None) == (not corpus):
        raise UserError("Name a corpus to probe with --corpus, or a size with --hours.")
    if hours is not None:
        forecaster.show(forecast_pipeline(settings, hours, cpus, gpus), console)
        return
    found = planner.plan(corpus, out, pipeline, settings, minutes, console)
    planner.show(found, out, console)


@app.command()
def doctor(
    pipeline: Pipeline = "laptop",
    out: Annotated[str, typer.Option(help="Where a run would write.")] = "out",
    load: Annotated[bool, typer.Option(help="Load every model once, as a worker would.")] = False,
    config: ConfigFile = PIPELINES,
) -> None:
    """Check every model, library, permission and device that a pipeline needs."""
    from gpa.curation import doctor as examiner
    from gpa.curation.pipeline import build_stages, read_pipeline
    from gpa.runtime.storage import Store

    settings = read_pipeline(config, pipeline)
    stages = build_stages(settings)
    if not examiner.show(stages, Store(out), settings.resources, console):
        raise typer.Exit(1)
    if load:
        examiner.load(stages, console)


@app.command()
def fetch(pipeline: Pipeline = "laptop", config: ConfigFile = PIPELINES) -> None:
    """Download all weights of a pipeline once, for machines that will run without a network."""
    from gpa.curation import fetch as fetching
    from gpa.curation.pipeline import build_stages, read_pipeline

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
def report(
    out: Annotated[str, typer.Argument(help="The OUT of a run, finished or not.")],
    truth: Annotated[
        Path | None,
        typer.Option(help="Folder with ground truth: shows which errors recognisers share."),
    ] = None,
) -> None:
    """Write report/index.html: what was kept and dropped, why, and samples to listen to."""
    from gpa.curation.report import write

    overlaps = []
    if truth is not None:
        from gpa.eval.curation import error_overlaps

        overlaps = error_overlaps(out, truth)
    write.report(out, overlaps, console)


@app.command()
def compare(
    before: Annotated[str, typer.Argument(help="The OUT of one run.")],
    after: Annotated[str, typer.Argument(help="The OUT of another.")],
    table: Annotated[
        Path | None, typer.Option(help="Parquet file for all that changed sides.")
    ] = None,
) -> None:
    """Show two runs side by side: config, hours, and which utterances changed sides and why."""
    from gpa.curation import compare as comparison

    comparison.run(before, after, table, console)


@app.command()
def score(
    out: Annotated[str, typer.Argument(help="The OUT of a finished run.")],
    truth: Annotated[
        Path, typer.Option(help="Folder with RTTM, JSONL turns, TextGrids or a manifest.jsonl.")
    ],
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file, too.")] = None,
) -> None:
    """Compare a finished run with ground truth."""
    from gpa.eval import curation

    curation.run(out, truth, json, console)


@app.command()
def calibrate(
    out: Annotated[str, typer.Argument(help="The OUT of a finished run.")],
    verdicts: Annotated[
        Path | None, typer.Argument(help="verdicts.jsonl that the report exported.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="Folder with ground truth.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the curve to this file, too.")] = None,
) -> None:
    """Show label errors against hours kept over all thresholds of pWER."""
    from gpa.eval import calibration

    calibration.run(out, truth, verdicts, json, console)


@app.command()
def tokenize(
    curated: Annotated[str, typer.Option(help="The OUT of a finished curation.")] = "out",
    out: Annotated[Path, typer.Option(help="Folder for the token shards.")] = Path("tokens"),
    tokenizer: TokenizerName = "small",
    config: ConfigFile = PIPELINES,
) -> None:
    """Turn curated shards into token shards, which training reads instead of audio."""
    from gpa.tokenize import run

    settings = run.read_config(config)
    run.tokenize(curated, out, run.choose(settings, tokenizer), settings.resources, console)


@app.command()
def train(
    model: Annotated[str, typer.Option(help="tiny, 0.3b or 3b.")] = "tiny",
    phase: Annotated[str, typer.Option(help="pretrain or sft.")] = "pretrain",
    tokens: Annotated[Path, typer.Option(help="Folder of token shards.")] = Path("tokens"),
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints; default: checkpoints/MODEL-PHASE.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Default: those of the config file.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Weights to start from.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in OUT.")] = False,
    config: ConfigFile = PIPELINES,
) -> None:
    """Train one model of recognition, synthesis and conversion on token shards."""
    from gpa.train import command

    command.use_all_cores()
    command.train(
        command.read_config(config),
        model=model,
        phase=phase,
        tokens=tokens,
        out=out or Path("checkpoints") / f"{model}-{phase}",
        steps=steps,
        checkpoint=checkpoint,
        resume=resume,
    )


@app.command("eval")
def evaluate(
    model: Annotated[str, typer.Option(help="tiny, 0.3b or 3b.")] = "tiny",
    phase: Annotated[str, typer.Option(help="Which training: pretrain or sft.")] = "pretrain",
    checkpoint: Annotated[
        Path | None, typer.Option(help="Default: the last of checkpoints/MODEL-PHASE.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=FOLDER, several times; docs/eval.md has the names."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Measure at most so many utterances of a set.")
    ] = None,
    tokenizer: TokenizerName = "small",
    out: Annotated[
        Path | None, typer.Option(help="Folder for eval/; default: checkpoints/MODEL-PHASE.")
    ] = None,
    config: ConfigFile = PIPELINES,
) -> None:
    """Measure a checkpoint on recognition, synthesis and conversion, beside published figures."""
    from gpa.eval import run
    from gpa.eval.config import read_config
    from gpa.tokenize.run import choose
    from gpa.tokenize.run import read_config as read_tokenize
    from gpa.train.command import use_all_cores

    use_all_cores()
    trained = Path("checkpoints") / f"{model}-{phase}"
    run.evaluate(
        run.parse_sets(sets or ["curated=out"]),
        checkpoint=checkpoint or trained,
        tokenizer=tokenizer,
        tokenizers=choose(read_tokenize(config), tokenizer),
        config=read_config(config),
        out=out or trained,
        limit=limit,
        console=console,
    )


@app.command()
def say(
    text: Annotated[str, typer.Argument(help="What is to be said.")],
    voice: VoiceFile,
    out: WavFile,
    checkpoint: Checkpoint = LAST_RUN,
    tokenizer: TokenizerName = "small",
    config: ConfigFile = PIPELINES,
) -> None:
    """Say a text in somebody's voice."""
    from gpa.eval import command

    command.say(text, voice, out, command.Model(checkpoint, tokenizer, config, _tell))


@app.command()
def transcribe(
    recordings: Annotated[list[Path], typer.Argument(help="Recordings in any format.")],
    checkpoint: Checkpoint = LAST_RUN,
    tokenizer: TokenizerName = "small",
    config: ConfigFile = PIPELINES,
) -> None:
    """Write down what recordings say."""
    from gpa.eval import command

    model = command.Model(checkpoint, tokenizer, config, _tell)
    command.transcribe(recordings, model, lambda piece: print(piece, end="", flush=True))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A recording in any format.")],
    voice: VoiceFile,
    out: WavFile,
    checkpoint: Checkpoint = LAST_RUN,
    tokenizer: TokenizerName = "small",
    config: ConfigFile = PIPELINES,
) -> None:
    """Say what a recording says in somebody else's voice."""
    from gpa.eval import command

    command.convert(source, voice, out, command.Model(checkpoint, tokenizer, config, _tell))


@app.command()
def serve(
    checkpoint: Checkpoint = LAST_RUN,
    tokenizer: TokenizerName = "small",
    host: Annotated[str, typer.Option(help="Whom it listens to; there is no login.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 8000,
    config: ConfigFile = PIPELINES,
) -> None:
    """Say, transcribe and convert over HTTP, streaming."""
    from gpa.eval import command
    from gpa.eval import serve as server
    from gpa.eval.config import read_config

    limits = read_config(config).serve
    generator = command.Model(checkpoint, tokenizer, config, _tell).load()
    server.serve(generator, limits, host, port)


@app.command()
def latency(
    recording: Annotated[Path, typer.Argument(help="Speech: the voice, and what is converted.")],
    server: Annotated[str, typer.Option(help="On this machine.")] = "http://127.0.0.1:8000",
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("latency"),
    config: ConfigFile = PIPELINES,
) -> None:
    """Measure how soon and how fast a running server answers when many ask at once."""
    from gpa.eval import latency as protocol
    from gpa.eval.config import read_config

    protocol.run(server, recording, out, read_config(config).latency, console)


@app.command()
def bench(
    sections: Annotated[
        list[str] | None, typer.Argument(help=f"Of {', '.join(BENCHES)}; default: all.")
    ] = None,
) -> None:
    """Measure the project's own speed, each figure beside what it is measured against."""
    for section in sections or BENCHES:
        if section not in BENCHES:
            raise UserError(f"There is no bench {section!r}; there are {', '.join(BENCHES)}.")
        measure = importlib.import_module(BENCHES[section]).bench
        measure(lambda line: console.print(line, markup=False))


def _tell(line: str) -> None:
    """Write to a person what is no answer, and so does not belong into standard output."""
    print(f"gpa: {line}", file=sys.stderr)


def main() -> NoReturn:
    """Run the command line; what is a person's to mend is one sentence and exit status 2."""
    try:
        app()
    except UserError as error:
        _tell(str(error))
        sys.exit(2)
    except SystemExit as stopped:
        if stopped.code == INTERRUPTED:
            _tell("interrupted; the same command goes on from here.")
        raise
    sys.exit(0)
