"""Where a network computes: on one core of the CPU, or on a GPU."""

from __future__ import annotations

from typing import Literal

from gpa.runtime.errors import UserError
from gpa.runtime.models import ModelConfig


class DeviceConfig(ModelConfig):
    """The section of a model that can run on a GPU."""

    device: Literal["cpu", "cuda"] = "cpu"

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"


def prepare_torch(device: str, model: str) -> None:
    """Hold torch to one thread; raises UserError where `model` is to run on a GPU it can't see."""
    import torch

    # With more, OpenMP's threads fight those of the other workers.
    torch.set_num_threads(1)
    require_device(device, model)


def require_device(device: str, model: str) -> None:
    """Raise UserError where `model` is to run on a GPU that torch can't see."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            f"{model} is set to device cuda but torch sees no GPU; set its device to cpu or run on "
            "a GPU machine."
        )
