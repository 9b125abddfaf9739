"""Denoise: a noise suppression model over whole normalised recordings (GPA section 3.1).

The whole recording goes through at once, before it is cut, so that the model has heard the
noise by the time somebody speaks. What is kept and what the ASRs hear are settings of later
stages: full denoising sounds cleaner and makes ASR worse, hence the attenuation limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from gpa.curation import audio
from gpa.curation.audio import Waveform
from gpa.curation.models.denoise.deepfilternet import DeepFilterNet, DeepFilterNetConfig
from gpa.curation.models.denoise.mossformer2 import MossFormer2, MossFormer2Config
from gpa.curation.models.protocols import Denoiser
from gpa.curation.tables import DENOISED
from gpa.runtime.models import Adapter, ModelConfig
from gpa.runtime.stage import Artifact, Attempts, Reject, Stage, rows, survivors


class NoDenoiser(ModelConfig):
    """The stage does not run."""

    model: Literal["none"]


DenoiserConfig = DeepFilterNetConfig | MossFormer2Config
DenoiseConfig = Annotated[DenoiserConfig | NoDenoiser, Field(discriminator="model")]


def residual_db(before: Waveform, after: Waveform) -> float:
    """RMS of what was removed against the RMS of the input, in dB; -200 where nothing was."""
    removed = np.square(before - after, dtype=np.float64).sum()
    total = np.square(before, dtype=np.float64).sum()
    return float(10 * np.log10(max(removed / total, 1e-20))) if total else -200.0


class DenoiseStage(Stage):
    """normalized -> denoised: one row and one FLAC a recording, same rate, length and level."""

    step: ClassVar[str] = "denoise"
    config: DenoiserConfig

    def __init__(self, name: str, config: DenoiserConfig, inputs: Sequence[str] = ()):
        super().__init__(name, config, inputs)
        self._denoiser: Denoiser = (
            MossFormer2(config) if isinstance(config, MossFormer2Config) else DeepFilterNet(config)
        )

    def adapters(self) -> Mapping[str, Adapter]:
        return {self.config.model: self._denoiser}

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        normalized = inputs["normalized"]
        table, files, audio_s = [], {}, 0.0
        rejects: list[Reject] = []

        def denoised(recording_id: str) -> tuple[Waveform, Waveform, int]:
            noisy, sample_rate = audio.decode_flac(normalized.files[f"{recording_id}.flac"])
            return noisy, self._denoiser.denoise(noisy, sample_rate), sample_rate

        recordings = rows(normalized.table.select(["recording_id", "duration_s"]))
        for recording_id, seconds, made in survivors(recordings, attempts, rejects, denoised):
            noisy, clean, sample_rate = made
            files[f"{recording_id}.flac"] = audio.encode_flac(clean, sample_rate)
            table.append(
                {
                    "recording_id": recording_id,
                    "model": self.config.model,
                    "residual_db": residual_db(noisy, clean),
                }
            )
            audio_s += seconds
        return Artifact(
            table=pa.Table.from_pylist(table, schema=DENOISED),
            files=files,
            rejects=rejects,
            audio_s=audio_s,
        )
