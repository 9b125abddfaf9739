"""The segmentation network that whisperx's wheel ships, without running code from its pickle.

The checkpoint is a pickle that also holds training state of other libraries. Only tensors and
plain containers are read from it; everything else becomes an inert placeholder, so that no code
of the file runs and none of those libraries need be installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.segmentation import PyanNet
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals


def segmentation_model(path: Path) -> PyanNet:
    """PyanNet as trained: windows of 5 s, up to three speakers in each, one score a speaker."""
    model = PyanNet(
        lstm={"hidden_size": 128, "num_layers": 4, "bidirectional": True},
        linear={"hidden_size": 128, "num_layers": 2},
    )
    model.specifications = Specifications(
        problem=Problem.MULTI_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=5.0,
        classes=["speaker#1", "speaker#2", "speaker#3"],
        permutation_invariant=True,
    )
    model.setup()
    model.load_state_dict(_state(path))
    return model.eval()


def _state(path: Path) -> dict[str, torch.Tensor]:
    """The checkpoint's `state_dict`."""
    with safe_globals([(_Inert, name) for name in get_unsafe_globals_in_checkpoint(path)]):
        return dict(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])


class _Inert:
    """Stands for whatever torch does not know to be a tensor or a plain container."""

    def __init__(self, *_: Any, **__: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass
