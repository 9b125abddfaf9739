"""Other programs, run to their end without a shell."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence


def run(command: Sequence[str], timeout_s: float) -> str:
    """Standard output of a program.

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
