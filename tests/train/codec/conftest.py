"""Random tokenizers and made-up speech."""

from __future__ import annotations

from tests.models import small_folders, speech

__all__ = ["small_folders", "speech"]
