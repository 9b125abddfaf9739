"""`gpa tokenize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpa.runtime.options import ConfigFile, TokenizerName, console

app = typer.Typer()


@app.command()
def tokenize(
    curated: Annotated[str, typer.Option(help="The OUT of a finished curation.")] = "out",
    out: Annotated[Path, typer.Option(help="Folder for the token shards.")] = Path("tokens"),
    tokenizer: TokenizerName = "small",
    *,
    config: ConfigFile,
) -> None:
    """Turn curated shards into token shards, which training reads instead of audio."""
    from gpa.tokenize import run

    settings = run.read_config(config)
    run.tokenize(curated, out, run.choose(settings, tokenizer), settings.resources, console)
