"""Token shards of made-up speech with real sentences."""

from __future__ import annotations

from tests.models import (
    bicodec,
    make_shards,
    one_thread,
    small_folders,
    tiny_model,
    vocabulary,
)

__all__ = ["bicodec", "make_shards", "one_thread", "small_folders", "tiny_model", "vocabulary"]
