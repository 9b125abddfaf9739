"""`gpa train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpa.runtime.options import ConfigFile

app = typer.Typer()


@app.command()
def merge(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of adapters (LoRA).")],
    out: Annotated[Path, typer.Argument(help="Folder for the whole model.")],
) -> None:
    """Merge adapters into the weights that they were trained beside."""
    from gpa.tokenize.vocabulary import Vocabulary
    from gpa.train.sizes import load_model, size_of

    load_model(size_of(checkpoint), checkpoint).save_pretrained(out)
    Vocabulary.beside(checkpoint).save(out)


@app.command()
def train(
    model: Annotated[str, typer.Option(help="tiny, 0.3b or 3b.")] = "tiny",
    phase: Annotated[str, typer.Option(help="pretrain, sft or reinforce.")] = "pretrain",
    tokens: Annotated[Path, typer.Option(help="Folder of token shards.")] = Path("tokens"),
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints; default: checkpoints/MODEL-PHASE.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Default: those of the config file.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Weights to start from.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in OUT.")] = False,
    *,
    config: ConfigFile,
) -> None:
    """Train one model of recognition, synthesis and conversion on token shards."""
    from gpa.train import command

    command.use_all_cores()
    command.train(
        command.prepare(
            command.read_config(config),
            model=model,
            phase=phase,
            tokens=tokens,
            out=out or Path("checkpoints") / f"{model}-{phase}",
            steps=steps,
            checkpoint=checkpoint,
            resume=resume,
        )
    )


@app.command()
def codec(
    curated: Annotated[str, typer.Option(help="The OUT of a finished curation.")] = "out",
    out: Annotated[Path, typer.Option(help="Folder for the codec and its checkpoints.")] = Path(
        "codec"
    ),
    steps: Annotated[int | None, typer.Option(help="Default: those of the config file.")] = None,
    start: Annotated[
        str, typer.Option(help="Weights to start from: a folder, small (shipped) or fresh.")
    ] = "small",
    resume: Annotated[bool, typer.Option(help="Go on with the run in OUT.")] = False,
    *,
    config: ConfigFile,
) -> None:
    """Train a BiCodec on curated speech, so that its tokens fit the language and the domain."""
    from gpa.train import command
    from gpa.train.codec import command as codec_command

    command.use_all_cores()
    codec_command.train_codec(
        codec_command.read_config(config),
        curated=curated,
        out=out,
        steps=steps,
        start=start,
        resume=resume,
    )
