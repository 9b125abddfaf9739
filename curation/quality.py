"""Quality: scores every utterance as normalised and as denoised, and says which one is kept.

Both scores stay in the table, so that the choice can be audited or made again under another
rule. Beside them stands what no opinion score tells and no model is needed for: bandwidth,
clipping, level and noise floor, of the normalised version, since a denoiser hides clipping and
noise and mends neither. Nothing is dropped here: `consensus.quality` has limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import itemgetter
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from gpa.curation import audio
from gpa.curation.audio import Waveform
from gpa.curation.models.protocols import MOS, QualityScorer
from gpa.curation.models.quality.distillmos import DistillMOS, DistillMOSConfig
from gpa.curation.models.quality.dnsmos import DNSMOS, DNSMOSConfig
from gpa.curation.segment.boundaries import levels_db, loudness
from gpa.curation.tables import QUALITY
from gpa.runtime.config import Config
from gpa.runtime.errors import fault
from gpa.runtime.models import Adapter
from gpa.runtime.stage import Artifact, Attempts, Stage, rows

Keep = Literal["always", "never", "where_better"]
# Of the spectrum: a band counts that comes within so much of the strongest band.
_BANDWIDTH_DB = 60.0
_BAND_HZ = 100
# A half-wave is clipped if so much of it lies within 3 % of its own peak (a sine has 16 %).
_FLAT_SHARE, _FLAT_LEVEL, _FLAT_SAMPLES = 0.4, 0.97, 4
# Only half-waves this close to the utterance's peak are looked at.
_LOUD = 0.5


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


@dataclass(frozen=True)
class Measures:
    """What a waveform itself shows; levels in dB of full scale."""

    bandwidth_hz: float
    clipped_share: float  # of the samples
    level_dbfs: float  # of the speech
    noise_floor_dbfs: float


def measure(waveform: Waveform, sample_rate: int) -> Measures:
    """The measures of an utterance of shape (samples,), of at least one frame of 10 ms.

    Raises ValueError where it is shorter.
    """
    levels = levels_db(waveform, sample_rate)
    if not len(levels):
        raise ValueError(f"{len(waveform)} samples are too few to measure")
    loud = loudness(levels)
    return Measures(
        bandwidth_hz(waveform, sample_rate),
        clipped_share(waveform),
        loud.speech_db,
        loud.floor_db,
    )


def bandwidth_hz(waveform: Waveform, sample_rate: int) -> float:
    """Where the spectrum ends, to 100 Hz: the top of the last band within 60 dB of the strongest.

    A band's level is that of its loudest twentieth of time, so that fricatives count however rare
    they are. What was sampled at 8 kHz ends below 4 kHz at whatever rate it is stored; noise that
    was added later counts as signal.
    """
    from scipy.signal import stft  # takes seconds, which no other worker should wait for

    bands = sample_rate // (2 * _BAND_HZ)
    size = min(sample_rate // 25, len(waveform))
    frequencies, _, spectrum = stft(waveform, sample_rate, nperseg=size, boundary=None)
    power = np.percentile(np.abs(spectrum) ** 2, 95, axis=1)
    band = np.minimum(frequencies // _BAND_HZ, bands - 1).astype(int)
    level = np.zeros(bands)
    np.maximum.at(level, band, power)
    heard = np.flatnonzero(level > level.max() * 10 ** (-_BANDWIDTH_DB / 10))
    return float((heard[-1] + 1) * _BAND_HZ) if len(heard) else 0.0


def clipped_share(waveform: Waveform) -> float:
    """Share of samples that lie on clipped peaks: half-waves with a flat top.

    Flat is relative to the half-wave's own peak, so that neither gain nor compression after the
    clipping hides it; resampling hides tops of a few samples.
    """
    if not len(waveform):
        return 0.0
    magnitude = np.abs(waveform)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(np.signbit(waveform))) + 1])
    lengths = np.diff(np.append(starts, len(waveform)))
    peaks = np.maximum.reduceat(magnitude, starts)
    top = magnitude >= _FLAT_LEVEL * np.repeat(peaks, lengths)
    on_top = np.add.reduceat(top.astype(np.int64), starts)
    clipped = (on_top >= _FLAT_SHARE * lengths) & (on_top >= _FLAT_SAMPLES)
    clipped &= (peaks >= _LOUD * magnitude.max()) & (peaks > 0)
    return float(on_top[clipped].sum() / len(waveform))


class QualityStage(Stage):
    """utterances -> quality: one row an utterance."""

    step: ClassVar[str] = "quality"
    version = 2
    config: QualityConfig

    def __init__(self, name: str, config: QualityConfig, inputs: Sequence[str] = ()):
        super().__init__(name, config, inputs)
        self._scorer: QualityScorer = (
            DistillMOS(config.scorer)
            if isinstance(config.scorer, DistillMOSConfig)
            else DNSMOS(config.scorer)
        )

    def adapters(self) -> Mapping[str, Adapter]:
        return {self.config.scorer.model: self._scorer}

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        """Score and measure every utterance of the partition, recording by recording.

        An utterance that can't be scored has no scores and stays as normalised: whether it is
        kept is for consensus to decide, once.
        """
        utterances = inputs["utterances"]
        columns = ["utterance_id", "recording_id", "duration_s"]
        table, audio_s = [], 0.0
        by_recording = groupby(rows(utterances.table.select(columns)), itemgetter("recording_id"))
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
            waveform, sample_rate = audio.decode_flac(files[f"{utterance_id}.normalized.flac"])
            measures = measure(waveform, sample_rate)
            normalized = self._score(waveform, sample_rate)
            denoised = self._score(*audio.decode_flac(files[name])) if name in files else None
        except Exception as error:  # one utterance's fault is its row's
            return _unscored(utterance_id, fault(error))
        return {
            "utterance_id": utterance_id,
            "kept_version": kept_version(
                normalized, denoised, self.config.keep, self.config.min_gain
            ),
            "normalized_mos": asdict(normalized),
            "denoised_mos": asdict(denoised) if denoised else None,
            **asdict(measures),
            "error": None,
        }

    def _score(self, waveform: Waveform, sample_rate: int) -> MOS:
        return self._scorer.score([waveform], sample_rate)[0]


def _unscored(utterance_id: str, error: str) -> dict:
    return {"utterance_id": utterance_id, "kept_version": "normalized", "error": error}
