"""Quality: scores every utterance as normalised and as denoised, and says which one is kept.

Both scores stay in the table, so that the choice can be audited or made again under another
rule. Nothing is dropped here for a low score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from gpa.curation import audio
from gpa.curation.models.protocols import MOS, Adapter, QualityScorer
from gpa.curation.models.quality.distillmos import DistillMOS, DistillMOSConfig
from gpa.curation.models.quality.dnsmos import DNSMOS, DNSMOSConfig
from gpa.curation.tables import QUALITY
from gpa.runtime.config import Config
from gpa.runtime.errors import NOBODYS_FAULT
from gpa.runtime.stage import Artifact, Attempts, Stage, rows

Keep = Literal["always", "never", "where_better"]


class QualityConfig(Config):
    """When the denoised version of an utterance is the one that is kept."""

    scorer: Annotated[DNSMOSConfig | DistillMOSConfig, Field(discriminator="model")] = (
        DNSMOSConfig()
    )
    keep: Keep = "where_better"
    # Under "where_better": points of overall MOS that denoising must gain.
    min_gain: float = Field(default=0.1, ge=0)


def kept_version(
    normalized: MOS, denoised: MOS | None, keep: Keep, min_gain: float
) -> Literal["normalized", "denoised"]:
    """Which version of an utterance is kept; `denoised` is None where there is no denoiser."""
    if denoised is None or keep == "never":
        return "normalized"
    if keep == "always" or denoised.overall - normalized.overall >= min_gain:
        return "denoised"
    return "normalized"


class QualityStage(Stage):
    """utterances -> quality: one row an utterance."""

    step: ClassVar[str] = "quality"
    config: QualityConfig

    def __init__(self, name: str, config: QualityConfig, inputs: Sequence[str] = ()):
        super().__init__(name, config, inputs)
        self._scorer: QualityScorer = (
            DistillMOS(config.scorer)
            if isinstance(config.scorer, DistillMOSConfig)
            else DNSMOS(config.scorer)
        )

    def adapters(self) -> Mapping[str, Adapter]:
        """The scorer."""
        return {self.config.scorer.model: self._scorer}

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        """Score every utterance of the partition, recording by recording.

        An utterance that can't be scored has no scores and stays as normalised: whether it is
        kept is for consensus to decide, once.
        """
        utterances = inputs["utterances"]
        columns = ["utterance_id", "recording_id", "duration_s"]
        table, audio_s = [], 0.0
        by_recording = groupby(rows(utterances.table.select(columns)), _recording_id)
        for recording_id, of_recording in by_recording:
            if recording_id in attempts.quarantined:
                error = f"quarantined: recording {recording_id} killed two workers"
                table += [_unscored(utterance["utterance_id"], error) for utterance in of_recording]
                continue
            with attempts.on([recording_id]):
                for utterance in of_recording:
                    table.append(self._row(utterance["utterance_id"], utterances.files))
                    audio_s += utterance["duration_s"]
        return Artifact(table=pa.Table.from_pylist(table, schema=QUALITY), audio_s=audio_s)

    def _row(self, utterance_id: str, files: Mapping[str, bytes]) -> dict:
        name = f"{utterance_id}.denoised.flac"
        try:
            normalized = self._score(files[f"{utterance_id}.normalized.flac"])
            denoised = self._score(files[name]) if name in files else None
        except NOBODYS_FAULT:
            raise
        except Exception as error:  # one utterance's fault is its row's
            return _unscored(utterance_id, f"{type(error).__name__}: {error}")
        return {
            "utterance_id": utterance_id,
            "kept_version": kept_version(
                normalized, denoised, self.config.keep, self.config.min_gain
            ),
            "normalized_mos": asdict(normalized),
            "denoised_mos": asdict(denoised) if denoised else None,
            "error": None,
        }

    def _score(self, flac: bytes) -> MOS:
        waveform, sample_rate = audio.decode_flac(flac)
        return self._scorer.score([waveform], sample_rate)[0]


def _recording_id(utterance: dict) -> str:
    return utterance["recording_id"]


def _unscored(utterance_id: str, error: str) -> dict:
    return {
        "utterance_id": utterance_id,
        "kept_version": "normalized",
        "normalized_mos": None,
        "denoised_mos": None,
        "error": error,
    }
