"""What the commands of all rooms share: options, and where they write for people."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

# Into a file or a pipe nothing is folded: lines are for grep there.
console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())

# Beside the rooms: at the root of the tree, or in the installed package.
SHIPPED = Path(__file__).resolve().parents[1] / "pipelines.yaml"


def pipelines() -> Path:
    """`pipelines.yaml` of the current folder, or else the one that the package brings."""
    here = Path("pipelines.yaml")
    return here if here.exists() else SHIPPED


ConfigFile = Annotated[
    Path,
    typer.Option(
        "--config",
        default_factory=pipelines,
        show_default="pipelines.yaml here, else the package's",
        help="The file with the pipelines.",
    ),
]
Pipeline = Annotated[str, typer.Option(help="Which pipeline of the config file.")]
TokenizerName = Annotated[str, typer.Option(help="Which entry of tokenize.tokenizers.")]


def tell(line: str) -> None:
    """Write to a person what is no answer, and so does not belong into standard output."""
    print(f"gpa: {line}", file=sys.stderr)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let typer see the fields of a dataclass, the type of `command`'s last parameter, as options.

    What several commands ask for stands once, in that dataclass: its fields are annotated like
    typer's parameters, and the command is handed an instance.
    """
    *own, last = inspect.signature(command, eval_str=True).parameters.values()
    fields = inspect.signature(last.annotation, eval_str=True).parameters

    @wraps(command)
    def filled(**given: Any) -> None:
        options = last.annotation(**{name: given.pop(name) for name in fields})
        command(**given, **{last.name: options})

    parameters = [each.replace(kind=each.KEYWORD_ONLY) for each in (*own, *fields.values())]
    filled.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    filled.__annotations__ = {each.name: each.annotation for each in parameters}
    return filled
