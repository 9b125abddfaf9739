"""MossFormer2_SE_48K through the package `clearvoice`: 55 million parameters that mask a spectrum.

Zhao et al.: ClearerVoice-Studio: Bridging Advanced Speech Processing Research and Practical
Deployment, 2025. The package wants numpy before 2.0, so it lives in an environment of its own
(docs/environments.md).

Its network and its decoder are called here, not its front door, which can't be told where weights
and GPU are, leaves random what a checkpoint lacks, and of recordings over 20 s may lose the end.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import yaml

from gpa.curation.audio import at_rate
from gpa.curation.models.device import DeviceConfig, prepare_torch
from gpa.curation.models.protocols import Model, Waveform
from gpa.curation.models.weights import library, resolve
from gpa.curation.models.windows import own_spans, window_spans
from gpa.runtime.errors import UserError
from gpa.runtime.models import Facts, Source

SAMPLE_RATE = 48000
# The decoder takes up to 20 s at once. Longer recordings it cuts into pieces of 4 s; with ours the
# network hears more around each sample, and less is computed twice.
WINDOW_S = 19.5
WINDOW_OVERLAP_S = 1.0
# Silence behind every window: what follows the last whole frame of 40 ms would be lost.
PADDING_S = 0.1
# Noise of half a step of 16-bit audio is added to what the network hears: always the same.
DITHER_SEED = 0

SETTINGS = "config/inference/MossFormer2_SE_48K.yaml"
# A text file whose first line names the file with the weights.
POINTER = "last_best_checkpoint"


class MossFormer2Config(DeviceConfig):
    """`weights` is a folder in the layout of the published one, or a model on the hub."""

    model: Literal["mossformer2"]
    weights: str = "alibabasglab/MossFormer2_SE_48K"


class MossFormer2(Model[MossFormer2Config]):
    """Suppresses noise wherever the network hears it; implements `protocols.Denoiser`."""

    def sources(self) -> tuple[Source, ...]:
        files = (POINTER, "*.pt")
        return (Source(self.config.weights, "MossFormer2", "Apache-2.0", files),)

    def facts(self) -> Facts:
        clearvoice = library(
            "clearvoice",
            remedy="`pip install clearvoice` in an environment of its own and name its python in"
            " denoise.environment",
        )
        weights = resolve(self.source)
        return Facts(
            model="MossFormer2_SE_48K",
            library=clearvoice,
            licence=weights.licence,
            weights=(weights,),
            memory_mb=1000,
        )

    def load(self) -> None:
        """Load the network; raises UserError where the device or some of its weights lack."""
        prepare_torch(self.config.device, self.config.weights)
        import clearvoice
        from clearvoice.models.mossformer2_se.mossformer2_se_wrapper import MossFormer2_SE_48K

        settings = Path(clearvoice.__file__).parent / SETTINGS
        self._settings = SimpleNamespace(**yaml.safe_load(settings.read_text(encoding="utf-8")))
        network = MossFormer2_SE_48K(self._settings).model
        fill(network, checkpoint(Path(resolve(self.source).path)))
        self._network = network.to(self.config.device).eval()

    def denoise(self, waveform: Waveform, sample_rate: int) -> Waveform:
        return at_rate(SAMPLE_RATE, self._denoise_48k, waveform, sample_rate)

    def _denoise_48k(self, noisy: Waveform) -> Waveform:
        """What each window answers for, joined."""
        windows = window_spans(len(noisy) / SAMPLE_RATE, WINDOW_S, WINDOW_OVERLAP_S)
        parts = []
        for window, own in zip(windows, own_spans(windows), strict=True):
            start, own_start, own_end, end = (
                round(second * SAMPLE_RATE) for second in (window[0], *own, window[1])
            )
            clean = self._denoise_window(noisy[start:end])
            parts.append(clean[own_start - start : own_end - start])
        return np.concatenate(parts)

    def _denoise_window(self, noisy: Waveform) -> Waveform:
        import torch
        from clearvoice.utils.decode import decode_one_audio_mossformer2_se_48k

        padded = np.pad(noisy, (0, round(PADDING_S * SAMPLE_RATE)))
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(DITHER_SEED)
            clean = decode_one_audio_mossformer2_se_48k(
                self._network, torch.device(self.config.device), padded[None], self._settings
            )
        return clean[: len(noisy)].astype(np.float32, copy=False)


def checkpoint(folder: Path) -> Path:
    """The file with the weights, which a text file in the folder names."""
    lines = (folder / POINTER).read_text(encoding="utf-8").splitlines()
    named = folder / lines[0].strip() if lines else folder
    if not named.is_file():
        raise UserError(
            f"{folder / POINTER} names no file that is there; its first line is to name the file "
            "with the weights."
        )
    return named


def fill(network: Any, file: Path) -> None:
    """Set a network's parameters from a checkpoint.

    Raises UserError where the checkpoint lacks any that was learnt or is of another network.
    """
    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        state = content.get("model", content)
        # As data-parallel training leaves them.
        state = {name.removeprefix("module."): weight for name, weight in state.items()}
        missing = network.load_state_dict(state, strict=False).missing_keys
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file} can't be read as MossFormer2_SE_48K ({reason}).") from error
    learnt = {name for name, weight in network.named_parameters() if weight.requires_grad}
    if lacks := sorted(learnt.intersection(missing)):
        raise UserError(
            f"{file} is no whole MossFormer2_SE_48K: it lacks {len(lacks)} of {len(learnt)} weights, "
            f"{lacks[0]} first."
        )
