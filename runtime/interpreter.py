"""Another Python interpreter, for a model whose library does not fit the others'.

A model's section of `pipelines.yaml` names it as `environment`. Ray starts the workers of that
stage, and of no other, with it; what the driver wants to know of the model is asked there, since
the driver may not have the library. Ray waits for ever for a worker whose interpreter has no Ray,
so an interpreter is tried before it is used, with a time limit.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from gpa.runtime.errors import UserError
from gpa.runtime.models import Adapter, Facts

Result = TypeVar("Result")

# Importing Ray takes a second on a fast disk and half a minute on a cold network disk.
PROBE_TIMEOUT_S = 120.0
# Hashing the weights of a large model takes minutes on a slow disk.
CALL_TIMEOUT_S = 1800.0

# Prints the interpreter's Python, and of each package its version or why it can't be imported.
PROBE = """
import importlib, json, sys
from importlib import metadata
found = {"python": "%d.%d" % sys.version_info[:2]}
for package, module in (("ray", "ray"), ("gpa", "gpa.runtime.stage")):
    try:
        importlib.import_module(module)
        found[package] = [metadata.version(package), ""]
    except Exception as error:
        found[package] = ["", "%s: %s" % (type(error).__name__, error)]
print(json.dumps(found))
"""


def run(command: Sequence[str], timeout_s: float) -> str:
    """Standard output of a program, run to its end without a shell.

    Raises CalledProcessError where its status is not 0 and TimeoutExpired after `timeout_s`; the
    program and all that it started are then gone.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=timeout_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command[0], output, errors)
    return output


@cache
def usable(environment: str) -> str:
    """The full path of an interpreter that workers can run in.

    It must have this one's Python (3.x), Ray and gpa. Raises UserError with the remedy.
    """
    python = shutil.which(str(Path(environment).expanduser()))
    if python is None:
        raise UserError(
            f"environment {environment} is no program that can be run; name the `bin/python` of "
            "a venv or conda environment."
        )
    try:
        found = json.loads(run([python, "-c", PROBE], PROBE_TIMEOUT_S).strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise UserError(
            f"environment {python} did not answer in {PROBE_TIMEOUT_S:g} s; try "
            f"`{python} -c 'import ray'`."
        ) from None
    except (OSError, subprocess.CalledProcessError, IndexError, ValueError):
        raise UserError(
            f"environment {python} is no Python interpreter; name the `bin/python` of a venv or "
            "conda environment."
        ) from None
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if found["python"] != ours:
        raise UserError(
            f"environment {python} has Python {found['python']}, and this run has {ours}, which "
            f"Ray wants everywhere; make the environment again with Python {ours}."
        )
    remedies = {
        "ray": f"`{python} -m pip install 'ray[data]=={metadata.version('ray')}'`",
        "gpa": f"install the wheel of this gpa there, `{python} -m pip install gpa-*.whl`",
    }
    for package, remedy in remedies.items():
        version, problem = found[package]
        needed = metadata.version(package)
        if problem:
            raise UserError(f"environment {python} can't import {package} ({problem}); {remedy}.")
        if version != needed:
            raise UserError(
                f"environment {python} has {package} {version}, and this run has {needed}; {remedy}."
            )
    return python


def call(environment: str, function: Callable[[], Result]) -> Result:
    """What `function`, which must pickle, returns in another interpreter.

    Raises UserError where the interpreter is not usable, where the function raises one there,
    and where it fails otherwise or takes too long.
    """
    return _call(environment, pickle.dumps(function))


def facts_of(adapter: Adapter) -> Facts:
    """What a model declares about itself, asked in its own environment, once a process."""
    config = adapter.config
    if config.environment is None:
        facts = adapter.facts()
    else:
        facts = _answer(config.environment, pickle.dumps(adapter.facts))
    return replace(facts, environment=config.environment, on_gpu=config.on_gpu)


def _call(environment: str, question: bytes):
    python = usable(environment)
    with tempfile.TemporaryDirectory(prefix="gpa-environment-") as folder:
        asked, answered = Path(folder) / "asked.pickle", Path(folder) / "answered.pickle"
        asked.write_bytes(question)
        command = [python, "-m", "gpa.runtime.interpreter", str(asked), str(answered)]
        try:
            run(command, CALL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise UserError(
                f"environment {python} gave no answer in {CALL_TIMEOUT_S:g} s."
            ) from None
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip() or f"status {error.returncode}").splitlines()[-1]
            raise UserError(f"environment {python} fails with this model: {last}") from None
        # Written by this program in an interpreter that the user named: no stranger's pickle.
        answer = pickle.loads(answered.read_bytes())
    if isinstance(answer, UserError):
        raise UserError(f"environment {python}: {answer}")
    return answer


_answer = cache(_call)


def _main(asked: Path, answered: Path) -> None:
    """Call the pickled function and pickle what it returns, or the UserError that it raises."""
    try:
        answer = pickle.loads(asked.read_bytes())()
    except UserError as error:
        answer = error
    answered.write_bytes(pickle.dumps(answer))


if __name__ == "__main__":
    _main(*map(Path, sys.argv[1:]))
