"""Whether a model leaves memory when its adapter does.

A worker has the adapters of one stage and ends with it; in `gpa score` models follow each other in
one process. No library may then hold a network that nobody uses any more.
"""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable

from gpa.runtime.models import Adapter


def left_behind(used: Callable[[], Adapter]) -> list[str]:
    """Names of an adapter's parts that are still there once nobody holds the adapter.

    `used` makes it, loads it and has it work, so that everything is there that it will ever hold.
    """
    adapter = used()
    parts = {}
    for name, part in vars(adapter).items():
        with contextlib.suppress(TypeError):  # numbers, strings, lists
            parts[name] = weakref.ref(part)
    del parts["config"]
    assert parts, "no part can be watched"
    del adapter, part
    gc.collect()
    return [name for name, watched in parts.items() if watched() is not None]
