"""The `gpa` command: the commands of the rooms, each a thin face of a function elsewhere.

Rooms above this one hang their commands and benches in by entry points (`pyproject.toml`), so that
nothing here imports them.
"""

from __future__ import annotations

import atexit
import os
import sys
from importlib.metadata import entry_points
from typing import Annotated, NoReturn

import typer

from gpa.runtime.chatter import QUIET, hush_libraries
from gpa.runtime.errors import UserError
from gpa.runtime.options import console, tell

# Before any library that reads them is imported: the rooms' commands import theirs when called.
os.environ.update(QUIET)
os.environ.setdefault("OMP_NUM_THREADS", "1")
hush_libraries()

BENCHES = {bench.name: bench for bench in entry_points(group="gpa.benches")}
# The exit status into which typer turns Ctrl-C.
INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Raw speech recordings in, audited training data and a model of speech out.",
)
for commands in entry_points(group="gpa.commands"):
    app.add_typer(commands.load())


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
        for line in BENCHES[section].load()():
            console.print(str(line), markup=False)


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


def command() -> NoReturn:
    """`main` as a process, which ends without taking the interpreter down.

    A native library's thread that still runs then would abort it (status 134), as happened where
    an error ended a command early.
    """
    try:
        main()
    except SystemExit as stopped:
        status = stopped.code if isinstance(stopped.code, int) else 1
    atexit._run_exitfuncs()  # what Python would run: Ray's cluster ends here
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
