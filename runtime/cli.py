"""The `gpa` command: the commands of the rooms, each a thin face of a function elsewhere."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated, NoReturn

import typer

import gpa.curation.cli
import gpa.eval.cli
import gpa.tokenize.cli
import gpa.train.cli
from gpa.runtime.errors import UserError
from gpa.runtime.execution import QUIET
from gpa.runtime.options import console, tell

# Before any library that reads them is imported: the rooms' commands import theirs when called.
os.environ.update(QUIET)
os.environ.setdefault("OMP_NUM_THREADS", "1")

# By section: the module whose `bench` measures it.
BENCHES = {
    "curation": "gpa.curation.bench",
    "engine": "gpa.runtime.bench_engine",
    "pipeline": "gpa.curation.bench_pipeline",
    "plan": "gpa.curation.bench_plan",
    "scale": "gpa.curation.bench_scale",
    "storage": "gpa.runtime.bench_storage",
    "tokenize": "gpa.tokenize.bench",
    "train": "gpa.train.bench",
}
# The exit status into which typer turns Ctrl-C.
INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Raw speech recordings in, audited training data and a model of speech out.",
)
for room in (gpa.curation.cli, gpa.tokenize.cli, gpa.train.cli, gpa.eval.cli):
    app.add_typer(room.app)


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


def main() -> NoReturn:
    """Run the command line; what is a person's to mend is one sentence and exit status 2."""
    try:
        app()
    except UserError as error:
        tell(str(error))
        sys.exit(2)
    except SystemExit as stopped:
        if stopped.code == INTERRUPTED:
            tell("interrupted; the same command goes on from here.")
        raise
    sys.exit(0)
