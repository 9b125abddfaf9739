"""Reading a published checkpoint without ever dropping or inventing a tensor."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gpa.runtime.errors import UserError

# The first that is there is read.
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Tensors of `model.safetensors` in a folder, or else of `pytorch_model.bin`.

    The latter is read as plain tensors: a pickle that would run code is refused. Raises UserError.
    """
    for name in WEIGHT_FILES:
        path = folder / name
        if not path.is_file():
            continue
        try:
            if path.suffix == ".safetensors":
                return load_file(path)
            return torch.load(path, map_location="cpu", weights_only=True)
        except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path} can't be read as a checkpoint: {reason}.") from None
    raise UserError(f"{folder} has neither model.safetensors nor pytorch_model.bin.")


def load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Give a network built on the meta device its tensors, floating ones in float32.

    Raises UserError naming every key that is missing, unexpected or wrongly shaped.
    """
    expected = network.state_dict()
    faults = [f"{key} is missing" for key in expected if key not in tensors]
    faults += [f"{key} is unexpected" for key in tensors if key not in expected]
    faults += [
        f"{key} has shape {tuple(tensor.shape)} and should have {tuple(expected[key].shape)}"
        for key, tensor in tensors.items()
        if key in expected and tensor.shape != expected[key].shape
    ]
    if faults:
        raise UserError(f"The checkpoint in {source} does not fit the model: {'; '.join(faults)}.")
    converted = {key: tensors[key].to(expected[key].dtype) for key in expected}
    network.load_state_dict(converted, assign=True)
    network.requires_grad_(False).eval()
