"""A MossFormer2_SE_48K with random weights, in the published layout; made and run where clearvoice is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gpa.runtime.stage import Artifact, NoAttempts, Stage


def mossformer2(folder: Path, saturation: float = 2.0) -> Path:
    """A folder with a checkpoint whose mask stays near one, so that speech comes through.

    The mask follows what is heard, the less so the higher the `saturation` of its last
    activations; from 20 on it is one, and what comes out is what went in.
    """
    from clearvoice.models.mossformer2_se.mossformer2_se_wrapper import MossFormer2_SE_48K

    torch.manual_seed(0)
    network: Any = MossFormer2_SE_48K(None).model
    masks = network.mossformer
    masks.output[0].bias.data.fill_(saturation)
    masks.output_gate[0].bias.data.fill_(saturation)
    masks.conv1_decoder.weight.data.fill_(1 / masks.conv1_decoder.weight.shape[1])
    folder.mkdir(parents=True)
    state = {f"module.{name}": weight for name, weight in network.state_dict().items()}
    torch.save({"model": state}, folder / "last_best_checkpoint.pt")
    (folder / "last_best_checkpoint").write_text("last_best_checkpoint.pt\n")
    return folder


def processed(stage: Stage, inputs: Mapping[str, Artifact]) -> Artifact:
    """What a worker of the stage makes of one partition."""
    stage.load()
    return stage.process("p", inputs, NoAttempts())
