"""`gpa` for evaluation: curation against ground truth, the model against test sets, and at work."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from gpa.eval.model import Model
from gpa.runtime.options import ConfigFile, Pipeline, TokenizerName, console, with_options

VoiceFile = Annotated[Path, typer.Option(help="Speech of whoever is to be heard.")]
JsonFile = Annotated[Path | None, typer.Option(help="Write the figures to this file, too.")]
WavFile = Annotated[Path, typer.Option(help="WAV file to write.")]

app = typer.Typer()


@app.command()
def score(
    out: Annotated[str, typer.Argument(help="The OUT of a finished run.")],
    truth: Annotated[
        Path, typer.Option(help="Folder with RTTM, JSONL turns, TextGrids or a manifest.jsonl.")
    ],
    json: JsonFile = None,
    versions: Annotated[
        bool, typer.Option(help="Hear the audio that the run did not transcribe, too (slow).")
    ] = False,
) -> None:
    """Compare a finished run with ground truth."""
    from gpa.eval.labels import score as curation

    curation.run(out, truth, json, console, versions)


@app.command()
def asr(
    truth: Annotated[Path, typer.Option(help="Folder with clips and their text, as for score.")],
    pipeline: Pipeline = "laptop",
    json: JsonFile = None,
    *,
    config: ConfigFile,
) -> None:
    """Measure every recogniser of a pipeline alone, beside its bare library."""
    from gpa.curation.pipeline import read_pipeline
    from gpa.eval.labels import recognisers

    recognisers.run(truth, read_pipeline(config, pipeline), json, console)


@app.command()
def calibrate(
    out: Annotated[str, typer.Argument(help="The OUT of a finished run.")],
    verdicts: Annotated[
        Path | None, typer.Argument(help="verdicts.jsonl that the report exported.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="Folder with ground truth.")] = None,
    json: JsonFile = None,
) -> None:
    """Show label errors against hours kept over all thresholds of pWER."""
    from gpa.eval.labels import calibrate as calibration

    calibration.run(out, truth, verdicts, json, console)


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
        from gpa.eval.labels.score import error_overlaps

        overlaps = error_overlaps(out, truth)
    write.report(out, overlaps, console)


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
    *,
    config: ConfigFile,
) -> None:
    """Measure a checkpoint on recognition, synthesis and conversion, beside published figures."""
    from gpa.eval.benchmarks import run
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
def resynthesize(
    curated: Annotated[str, typer.Option(help="The OUT of a finished curation.")] = "out",
    tokenizer: TokenizerName = "small",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many utterances.")] = None,
    *,
    config: ConfigFile,
) -> None:
    """Measure a codec: what a judge understands of speech that became tokens and speech again."""
    from gpa.curation.curated import read_curated
    from gpa.curation.models.quality.dnsmos import DNSMOS, DNSMOSConfig
    from gpa.eval.benchmarks import resynthesis
    from gpa.eval.config import read_config
    from gpa.tokenize.run import choose
    from gpa.tokenize.run import read_config as read_tokenize
    from gpa.tokenize.weights import load_bicodec
    from gpa.train.judges import Judges

    codec = load_bicodec(choose(read_tokenize(config), tokenizer))
    scorer = DNSMOS(DNSMOSConfig())
    scorer.load()
    by_language: dict[str, list] = {}
    for utterance in islice(read_curated(curated), limit):
        by_language.setdefault(utterance.metadata["language"], []).append(utterance)
    judges = Judges.load(read_config(config), by_language, "eval")
    for language, utterances in by_language.items():
        console.print(f"{curated}, {language}:")
        found = resynthesis.measure(
            utterances, codec, judges.by_language[language], scorer, judges.encoder
        )
        for line in found.lines():
            console.print(f"  {line}")


@app.command()
@with_options
def say(
    text: Annotated[str, typer.Argument(help="What is to be said.")],
    voice: VoiceFile,
    out: WavFile,
    voice_text: Annotated[
        str | None, typer.Option(help="What VOICE says: speech goes on from it, accent and all.")
    ] = None,
    *,
    model: Model,
) -> None:
    """Say a text in somebody's voice."""
    from gpa.eval.generation import commands as command

    command.say(text, voice, voice_text, out, model)


@app.command()
@with_options
def transcribe(
    recordings: Annotated[list[Path], typer.Argument(help="Recordings in any format.")],
    model: Model,
) -> None:
    """Write down what recordings say."""
    from gpa.eval.generation import commands as command

    command.transcribe(recordings, model, lambda piece: print(piece, end="", flush=True))


@app.command()
@with_options
def convert(
    source: Annotated[Path, typer.Argument(help="A recording in any format.")],
    voice: VoiceFile,
    out: WavFile,
    model: Model,
) -> None:
    """Say what a recording says in somebody else's voice."""
    from gpa.eval.generation import commands as command

    command.convert(source, voice, out, model)


@app.command()
@with_options
def serve(
    host: Annotated[str, typer.Option(help="Whom it listens to; there is no login.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 8000,
    *,
    model: Model,
) -> None:
    """Say, transcribe and convert over HTTP, streaming."""
    from gpa.eval.config import read_config
    from gpa.eval.serving import serve as server

    limits = read_config(model.config).serve
    server.serve(model.load(), limits, host, port)


@app.command()
def latency(
    recording: Annotated[Path, typer.Argument(help="Speech: the voice, and what is converted.")],
    server: Annotated[str, typer.Option(help="On this machine.")] = "http://127.0.0.1:8000",
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("latency"),
    *,
    config: ConfigFile,
) -> None:
    """Measure how soon and how fast a running server answers when many ask at once."""
    from gpa.eval.config import read_config
    from gpa.eval.serving import latency as protocol

    protocol.run(server, recording, out, read_config(config).latency, console)
