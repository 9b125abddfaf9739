"""Small tokenizers and made-up audio, shared by the tests of both."""

from __future__ import annotations

import torch

from tests.models import bicodec, glm, small_folders, speech

__all__ = ["bicodec", "glm", "small_folders", "speech"]

# As everywhere in the project: processes share the cores, so each uses one.
torch.set_num_threads(1)
