"""Segment: recordings into utterances of one speaker (GPA section 3.1).

VAD and speaker diarization together say who talks when; `cut.py` has the rules by which that
becomes utterances. Each utterance is cut from the normalised and the denoised recording, and each
cut's peak is brought to 0.6 again. Utterances, drops and non-speech tile every recording exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from gpa.curation import audio
from gpa.curation.audio import Waveform
from gpa.curation.models.diarization.pyannote import Pyannote, PyannoteConfig
from gpa.curation.models.diarization.sortformer import Sortformer, SortformerConfig
from gpa.curation.models.protocols import Diarizer
from gpa.curation.normalize import normalize_peak
from gpa.curation.segment import boundaries
from gpa.curation.segment.cut import CutConfig, cut
from gpa.curation.tables import UTTERANCES
from gpa.runtime.errors import UserError
from gpa.runtime.models import Adapter
from gpa.runtime.stage import Artifact, Attempts, Reject, Stage, rows, survivors

DiarizerSection = Annotated[PyannoteConfig | SortformerConfig, Field(discriminator="model")]


class SegmentConfig(CutConfig):
    """The diarizer, what is heard, and the rules by which turns become utterances."""

    diarizer: DiarizerSection = PyannoteConfig()
    # Which version of a recording the diarizer and the boundary rules hear.
    hears: Literal["normalized", "denoised"] = "normalized"
    # Of each cut utterance again.
    peak: float = Field(0.6, gt=0, le=1)


class SegmentStage(Stage):
    """normalized, denoised -> utterances: one row a cut, one FLAC a version."""

    step: ClassVar[str] = "segment"
    version = 3
    config: SegmentConfig

    def __init__(self, name: str, config: SegmentConfig, inputs: Sequence[str] = ()):
        super().__init__(name, config, inputs)
        if config.hears not in self.inputs:
            raise UserError(
                f"segment.hears is {config.hears}, which this pipeline does not make; "
                "set it to normalized, or name a denoiser in denoise.model."
            )
        self.versions: list[str] = [
            name for name in ("normalized", "denoised") if name in self.inputs
        ]
        self._diarizer: Diarizer = (
            Sortformer(config.diarizer)
            if isinstance(config.diarizer, SortformerConfig)
            else Pyannote(config.diarizer)
        )

    def adapters(self) -> Mapping[str, Adapter]:
        return {self.config.diarizer.model: self._diarizer}

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        """Cut every recording of the partition that the stages above handed on."""
        # A recording that a version lacks was rejected by the stage that makes it.
        handed_on = set.intersection(
            *(set(inputs[v].table["recording_id"].to_pylist()) for v in self.versions)
        )
        table: list[dict] = []
        files: dict[str, bytes] = {}
        rejects: list[Reject] = []
        audio_s = 0.0

        def segmented(recording_id: str) -> tuple[list[dict], dict[str, bytes], list[Reject]]:
            name = f"{recording_id}.flac"
            versions = {v: audio.decode_flac(inputs[v].files[name]) for v in self.versions}
            return self._segment(recording_id, versions)

        normalized = inputs["normalized"].table.select(["recording_id", "duration_s"])
        recordings = (row for row in rows(normalized) if row["recording_id"] in handed_on)
        for _, seconds, found in survivors(recordings, attempts, rejects, segmented):
            table += found[0]
            files |= found[1]
            rejects += found[2]
            audio_s += seconds
        return Artifact(
            table=pa.Table.from_pylist(table, schema=UTTERANCES),
            files=files,
            rejects=rejects,
            audio_s=audio_s,
        )

    def _segment(
        self,
        recording_id: str,
        versions: Mapping[str, tuple[Waveform, int]],
    ) -> tuple[list[dict], dict[str, bytes], list[Reject]]:
        """Rows, files and rejects of one recording."""
        heard, rate = versions[self.config.hears]
        diarization = self._diarizer.diarize(heard, rate)
        utterances, drops = cut(heard, rate, diarization, self._diarizer, self.config)
        table, files = [], {}
        for utterance in utterances:
            utterance_id = f"{recording_id}-{utterance.start * 1000 // rate:09d}"
            levels = boundaries.levels_db(heard[utterance.start : utterance.end], rate)
            head, tail = boundaries.edges(heard, rate, utterance.start, utterance.end)
            table.append(
                {
                    "utterance_id": utterance_id,
                    "recording_id": recording_id,
                    "start_s": utterance.start / rate,
                    "end_s": utterance.end / rate,
                    "duration_s": (utterance.end - utterance.start) / rate,
                    "sample_rate": rate,
                    "speaker": f"{recording_id}-S{utterance.speaker}",
                    "speaker_confidence": utterance.confidence,
                    "speaker_embedding": utterance.embedding,
                    "speech_s": utterance.speech / rate,
                    "snr_db": boundaries.loudness(levels).snr_db,
                    "head_db": head.loudest_db,
                    "tail_db": tail.loudest_db,
                }
            )
            for version, (waveform, _) in versions.items():
                clip = normalize_peak(waveform[utterance.start : utterance.end], self.config.peak)
                files[f"{utterance_id}.{version}.flac"] = audio.encode_flac(clip, rate)
        rejects = [
            Reject(
                recording_id,
                drop.reason,
                (drop.end - drop.start) / rate,
                start_s=drop.start / rate,
                end_s=drop.end / rate,
                value=drop.value,
            )
            for drop in drops
        ]
        return table, files, rejects
