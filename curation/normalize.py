"""Normalise: any recording becomes mono at one rate, without DC, compressed, at one peak.

GPA section 3.1: dynamic range compression, then `x~ = 0.6 * x / max|x|`. The same peak rule
(`normalize_peak`) is applied again to every utterance after it is cut.

The compressor's threshold is relative to the recording's own active level, so a recording that
is 50 dB quieter comes out the same. It is a feed-forward design with a decoupled detector
(Giannoulis, Massberg, Reiss: Digital Dynamic Range Compressor Design, JAES 60(6), 2012). It works
on the level of blocks of 2 ms, which costs a hundredth of a detector that works on samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field
from scipy.signal import lfilter

from gpa.curation import audio
from gpa.curation.audio import Waveform
from gpa.curation.tables import NORMALIZED, SOUND, known
from gpa.runtime.config import Config
from gpa.runtime.errors import NOBODYS_FAULT, NotReadError
from gpa.runtime.stage import Artifact, Attempts, Reject, Stage

BLOCK_MS = 2.0
# Samples this close to full scale count as clipped.
CLIPPING_LEVEL = 0.999


class CompressorConfig(Config):
    """Dynamic range compression."""

    # Where compression begins, against the recording's active level.
    threshold_db: float = 0.0
    # Above the threshold, input decibels per output decibel; 1 compresses nothing.
    ratio: float = Field(default=3.0, ge=1)
    attack_ms: float = Field(default=5.0, gt=0)
    release_ms: float = Field(default=80.0, gt=0)


class NormalizeConfig(Config):
    """What every recording is brought to."""

    sample_rate: int = Field(default=24000, ge=8000)
    peak: float = Field(default=0.6, gt=0, le=1)
    compressor: CompressorConfig = CompressorConfig()
    # A recording whose peak, without DC, stays below this level of full scale is silent.
    silence_dbfs: float = Field(default=-80.0, lt=0)
    min_duration_s: float = Field(default=0.1, gt=0)


def normalize_peak(waveform: Waveform, peak: float = 0.6) -> Waveform:
    """`peak * x / max|x|` (GPA section 3.1); what is empty or all zeros stays as it is."""
    loudest = np.max(np.abs(waveform), initial=0)
    if loudest == 0:
        return waveform
    # In this order the loudest sample becomes exactly one before it becomes exactly the peak.
    return (waveform / loudest) * np.float32(peak)


def remove_dc(waveform: Waveform) -> tuple[Waveform, NDArray[np.float64]]:
    """Subtract each channel's mean, shape (channels, samples); also returns the means."""
    offsets = waveform.mean(axis=1, dtype=np.float64)
    return waveform - offsets[:, None].astype(np.float32), offsets


def active_level_db(level_db: NDArray[np.float64]) -> float:
    """Mean power, in dB, of the blocks that are no more than 10 dB below the mean of all.

    The relative gate of ITU-R BS.1770-4: pauses, however long, do not lower the level.
    """
    power = 10 ** (level_db / 10)
    gated = power[power >= 0.1 * power.mean()]
    return float(10 * np.log10(gated.mean()))


def compress(
    waveform: Waveform, sample_rate: int, config: CompressorConfig
) -> tuple[Waveform, float]:
    """Reduce the gain where the level exceeds the threshold; never raise it.

    Returns the compressed samples, shape (samples,), and the greatest gain reduction in dB. The
    waveform may have any level but must not be all zeros.
    """
    block = max(1, round(sample_rate * BLOCK_MS / 1000))
    padded = np.pad(waveform, (0, -len(waveform) % block)).reshape(-1, block)
    power = np.einsum("bs,bs->b", padded, padded, dtype=np.float64) / block
    level_db = 10 * np.log10(np.maximum(power, np.finfo(np.float64).tiny))

    excess_db = level_db - active_level_db(level_db) - config.threshold_db
    wanted_db = np.maximum(excess_db, 0) * (1 - 1 / config.ratio)
    reduction_db = _smooth(wanted_db, config, block / sample_rate)

    # Gains hold at the blocks' starts and run straight from one to the next: no steps.
    gain = (10 ** (-reduction_db / 20)).astype(np.float32)
    following = np.append(gain[1:], gain[-1])
    ramp = np.arange(block, dtype=np.float32) / np.float32(block)
    compressed = padded * (gain[:, None] + (following - gain)[:, None] * ramp)
    return compressed.reshape(-1)[: len(waveform)], float(reduction_db.max())


def _smooth(
    wanted_db: NDArray[np.float64], config: CompressorConfig, block_s: float
) -> NDArray[np.float64]:
    """Gain reduction that falls by `release_ms` and rises by `attack_ms` (time constants)."""
    release = block_s * 1000 / config.release_ms
    attack = np.exp(-block_s * 1000 / config.attack_ms)
    # y[n] = max(x[n], exp(-release) * y[n-1]) is a running maximum once the decay is taken out.
    decay = release * np.arange(len(wanted_db))
    with np.errstate(divide="ignore"):
        held_db = np.exp(np.maximum.accumulate(np.log(wanted_db) + decay) - decay)
    return lfilter([1 - attack], [1, -attack], held_db)


@dataclass(frozen=True)
class Normalized:
    """A recording after this stage, and what was found on the way."""

    waveform: Waveform
    peak_in: float
    dc_offset: float
    clipped_share: float
    repaired_samples: int
    max_gain_reduction_db: float


class Unusable(Exception):  # noqa: N818 - a finding about the recording, not a fault
    """A recording that holds no speech for a reason that its samples show."""

    def __init__(self, reason: str, value: float, detail: str):
        super().__init__(detail)
        self.reason = reason
        self.value = value


def normalize(waveform: Waveform, sample_rate: int, config: NormalizeConfig) -> Normalized:
    """The whole chain for one decoded recording of shape (channels, samples).

    Raises Unusable with the reason "empty", "too_short" or "silent".
    """
    duration_s = waveform.shape[1] / sample_rate
    if not waveform.shape[1]:
        raise Unusable("empty", 0.0, "the file has no samples")
    if duration_s < config.min_duration_s:
        raise Unusable("too_short", duration_s, f"it lasts less than {config.min_duration_s:g} s")
    waveform, repaired_samples = audio.repair(waveform)
    magnitude = np.abs(waveform)
    peak_in = float(magnitude.max())
    clipped_share = float(np.mean(magnitude >= CLIPPING_LEVEL))
    waveform, offsets = remove_dc(waveform)
    mono = audio.mix_down(waveform)
    mono_peak = float(np.max(np.abs(mono)))
    if mono_peak < 10 ** (config.silence_dbfs / 20):
        peak_dbfs = float(20 * np.log10(max(mono_peak, 1e-10)))  # -200 for all zeros
        raise Unusable(
            "silent", peak_dbfs, f"its peak is below {config.silence_dbfs:g} dB of full scale"
        )
    # At full scale before anything else, so that float32 is equally exact at every level.
    mono = audio.resample(normalize_peak(mono, 1.0), sample_rate, config.sample_rate)
    mono, max_gain_reduction_db = compress(mono, config.sample_rate, config.compressor)
    return Normalized(
        waveform=normalize_peak(mono, config.peak),
        peak_in=peak_in,
        dc_offset=float(offsets[np.argmax(np.abs(offsets))]),
        clipped_share=clipped_share,
        repaired_samples=repaired_samples,
        max_gain_reduction_db=max_gain_reduction_db,
    )


def part_of(waveform: Waveform, sample_rate: int, recording: Mapping[str, Any]) -> Waveform:
    """The segment and channel of a file, shape (channels, samples), that are the recording.

    Raises Unusable with the reason "empty" where the file has no such channel.
    """
    channel, end_s = recording["channel"], recording["end_s"]
    if channel is not None:
        if channel >= waveform.shape[0]:
            detail = (
                f"the file has {waveform.shape[0]} channels, and none with the number {channel}"
            )
            raise Unusable("empty", 0.0, detail)
        waveform = waveform[channel : channel + 1]
    last = None if end_s is None else round(end_s * sample_rate)
    return waveform[:, round(recording["start_s"] * sample_rate) : last]


class _Latest:
    """The file that was decoded last: the segments of one follow each other."""

    def __init__(self) -> None:
        self._uri: str | None = None
        self._decoded: tuple[Waveform, int] | None = None

    def decoded(self, uri: str) -> tuple[Waveform, int]:
        """As `audio.decode`."""
        if self._decoded is None or uri != self._uri:
            self._decoded = None  # out of memory before the next one comes in
            self._decoded = audio.decode(uri)
            self._uri = uri
        return self._decoded


class NormalizeStage(Stage):
    """recordings -> normalized: one row and one FLAC a recording that has sound."""

    step: ClassVar[str] = "normalize"
    layers: ClassVar[int] = SOUND
    config: NormalizeConfig

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        """Decode and normalise every recording of the partition.

        Raises NotReadError where storage does not give one of them: then there is no artifact.
        """
        table, files, rejects = [], {}, []
        not_read: dict[str, str] = {}
        latest = _Latest()
        for recording in known(inputs["recordings"].table, self.layers):
            recording_id = recording["recording_id"]
            if recording_id in attempts.quarantined:
                rejects.append(Reject(recording_id, "quarantined", recording["duration_s"]))
                continue
            try:
                with attempts.on([recording_id]):
                    outcome = self._normalize(recording, latest)
            except NotReadError as error:
                not_read |= error.why
                continue
            if isinstance(outcome, Reject):
                rejects.append(outcome)
                continue
            sample_rate = self.config.sample_rate
            files[f"{recording_id}.flac"] = audio.encode_flac(outcome.waveform, sample_rate)
            table.append(
                {
                    "recording_id": recording_id,
                    "sample_rate": sample_rate,
                    "samples": len(outcome.waveform),
                    "duration_s": len(outcome.waveform) / sample_rate,
                    "peak_in": outcome.peak_in,
                    "dc_offset": outcome.dc_offset,
                    "clipped_share": outcome.clipped_share,
                    "repaired_samples": outcome.repaired_samples,
                    "max_gain_reduction_db": outcome.max_gain_reduction_db,
                }
            )
        if not_read:
            raise NotReadError(not_read)
        return Artifact(
            table=pa.Table.from_pylist(table, schema=NORMALIZED),
            files=files,
            rejects=rejects,
            audio_s=sum(row["duration_s"] for row in table),
        )

    def _normalize(self, recording: dict, latest: _Latest) -> Normalized | Reject:
        recording_id, seconds = recording["recording_id"], recording["duration_s"]
        try:
            waveform, sample_rate = latest.decoded(recording["uri"])
            waveform = part_of(waveform, sample_rate, recording)
            seconds = waveform.shape[1] / sample_rate
            return normalize(waveform, sample_rate, self.config)
        except audio.DecodeError as error:
            return Reject(recording_id, "unreadable", seconds, detail=str(error))
        except Unusable as unusable:
            return Reject(
                recording_id, unusable.reason, seconds, value=unusable.value, detail=str(unusable)
            )
        except NOBODYS_FAULT:
            raise
        except Exception as error:  # one recording's fault is its reject, not the run's end
            detail = f"{type(error).__name__}: {error}"
            return Reject(recording_id, "failed", seconds, detail=detail)
