"""What the commands of all rooms share: options, and where they write for people."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

# Into a file or a pipe nothing is folded: lines are for grep there.
console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())

ConfigFile = Annotated[Path, typer.Option("--config", help="The file with the pipelines.")]
PIPELINES = Path("pipelines.yaml")
Pipeline = Annotated[str, typer.Option(help="Which pipeline of the config file.")]
TokenizerName = Annotated[str, typer.Option(help="Which entry of tokenize.tokenizers.")]


def tell(line: str) -> None:
    """Write to a person what is no answer, and so does not belong into standard output."""
    print(f"gpa: {line}", file=sys.stderr)
