"""Distill-MOS: one predicted opinion score of speech, from the wheel `distillmos`.

Stahl, Gamper: Distillation and Pruning for Scalable Self-Supervised Representation-Based Speech
Quality Assessment, ICASSP 2025. It knows no parts: signal and background have no scores.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from gpa.curation.audio import Waveform, resample
from gpa.curation.models.protocols import MOS, Model
from gpa.curation.models.weights import wheel_facts, wheel_file
from gpa.runtime.models import Facts, ModelConfig

SAMPLE_RATE = 16000


class DistillMOSConfig(ModelConfig):
    """Nothing to set: the model cuts its windows of 7.7 s itself."""

    title: ClassVar[str] = "Distill-MOS"
    model: Literal["distillmos"]


class DistillMOS(Model[DistillMOSConfig]):
    """Scores a clip by the mean over windows; implements `protocols.QualityScorer`."""

    _network: Any = None

    def facts(self) -> Facts:
        return wheel_facts(
            "Distill-MOS v7",
            "distillmos",
            wheel_file("distillmos", "distillmos/weights/distill_mos_v7.pt"),
            licence="MIT",
            memory_mb=600,
        )

    def load(self) -> None:
        """Load the network, on one thread, without the message that it prints."""
        import torch
        from distillmos import ConvTransformerSQAModel

        torch.set_num_threads(1)
        with contextlib.redirect_stdout(io.StringIO()):
            self._network = ConvTransformerSQAModel().eval()

    def score(self, waveforms: Sequence[Waveform], sample_rate: int) -> list[MOS]:
        return [self._score(resample(clip, sample_rate, SAMPLE_RATE)) for clip in waveforms]

    def _score(self, clip: Waveform) -> MOS:
        import torch

        if not len(clip):
            raise ValueError("a clip without samples has no quality")
        with torch.inference_mode():
            found = self._network(torch.from_numpy(np.ascontiguousarray(clip))[None])
        return MOS(overall=float(found.item()))
