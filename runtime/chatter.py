"""Keeps off the terminal what libraries have to say to their developers."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator

# Telemetry off, no hub unless a pipeline says so, and threads that sleep while they wait:
# two OpenMP threads on a shared core otherwise spin each other to a standstill.
QUIET = {
    "OTEL_SDK_DISABLED": "true",
    "PYANNOTE_METRICS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # Ray's own advice to its developers, not for our users
    "RAY_USAGE_STATS_ENABLED": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "KMP_BLOCKTIME": "0",
}


def hush_libraries() -> None:
    """Ignore what libraries say, when they are imported, of parts of them that nothing here uses."""
    # pyannote, where it can't open files: it is handed waveforms.
    warnings.filterwarnings("ignore", r"\s*torchcodec is not installed correctly", UserWarning)
    # The telemetry of NeMo, which pyannote imports where it is installed: that it is off.
    logging.getLogger("nv_one_logger").setLevel(logging.ERROR)


@contextlib.contextmanager
def without_native_chatter() -> Iterator[None]:
    """Swallow what native code writes to standard error; for calls whose errors are raised."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device, no path of ours
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
