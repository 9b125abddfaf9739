"""Normalise: any recording becomes mono at one rate, without DC, compressed, at one peak.

GPA section 3.1: dynamic range compression, then `x~ = 0.6 * x / max|x|`. The same peak rule
(`normalize_peak`) is applied again to every utterance after it is cut.

The compressor's threshold is relative to the recording's own active level, so a recording that
is 50 dB quieter comes out the same. It is a feed-forward design with a decoupled detector
(Giannoulis, Massberg, Reiss: Digital Dynamic Range Compressor Design, JAES 60(6), 2012). It works
on the level of blocks of 2 ms, which costs a hundredth of a detector that works on samples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from gpa.curation import audio
from gpa.curation.audio import MixedDown, Span, Waveform
from gpa.curation.tables import DAMAGED, NORMALIZED, SOUND, known
from gpa.runtime.config import Config
from gpa.runtime.errors import NotReadError, fault
from gpa.runtime.stage import Artifact, Attempts, Reject, Stage

BLOCK_MS = 2.0
# Compressed in one go: a megabyte or so, however long the recording.
_BLOCKS_AT_ONCE = 1 << 12
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


def active_level_db(level_db: NDArray[np.float64]) -> float:
    """Mean power, in dB, of the blocks that are no more than 10 dB below the mean of all.

    The relative gate of ITU-R BS.1770-4: pauses, however long, do not lower the level.
    """
    power = 10 ** (level_db / 10)
    gated = power[power >= 0.1 * power.mean()]
    return float(10 * np.log10(gated.mean()))


def compress(
    waveform: Waveform,
    sample_rate: int,
    config: CompressorConfig,
    out: Waveform | None = None,
) -> tuple[Waveform, float]:
    """Reduce the gain where the level exceeds the threshold; never raise it.

    Returns the compressed samples, shape (samples,), and the greatest gain reduction in dB. The
    waveform may have any level but must not be all zeros. `out`, which may be the waveform itself,
    takes the samples and saves memory.
    """
    block = max(1, round(sample_rate * BLOCK_MS / 1000))
    whole = len(waveform) - len(waveform) % block
    power = np.concatenate([_power(waveform[:whole], block), _power(waveform[whole:], block)])
    level_db = 10 * np.log10(np.maximum(power, np.finfo(np.float64).tiny))

    excess_db = level_db - active_level_db(level_db) - config.threshold_db
    wanted_db = np.maximum(excess_db, 0) * (1 - 1 / config.ratio)
    reduction_db = _smooth(wanted_db, config, block / sample_rate)

    # Gains hold at the blocks' starts and run straight from one to the next: no steps.
    gain = (10 ** (-reduction_db / 20)).astype(np.float32)
    step = np.append(gain[1:], gain[-1]) - gain
    ramp = np.arange(block, dtype=np.float32) / np.float32(block)
    out = np.empty_like(waveform) if out is None else out
    for first in range(0, len(gain), _BLOCKS_AT_ONCE):
        these = slice(first, first + _BLOCKS_AT_ONCE)
        gains = (gain[these, None] + step[these, None] * ramp).reshape(-1)
        samples = waveform[first * block : (first + _BLOCKS_AT_ONCE) * block]
        np.multiply(samples, gains[: len(samples)], out=out[first * block :][: len(samples)])
    return out, float(reduction_db.max())


def _power(waveform: Waveform, block: int) -> NDArray[np.float64]:
    """Mean power of each block; a last one that is shorter counts as filled up with zeros."""
    padded = np.pad(waveform, (0, block - len(waveform))) if len(waveform) < block else waveform
    blocks = padded.reshape(-1, block)[: -(-len(waveform) // block)]
    return np.einsum("bs,bs->b", blocks, blocks, dtype=np.float64) / block


def _smooth(
    wanted_db: NDArray[np.float64], config: CompressorConfig, block_s: float
) -> NDArray[np.float64]:
    """Gain reduction that falls by `release_ms` and rises by `attack_ms` (time constants)."""
    from scipy.signal import lfilter  # takes seconds, which no other worker should wait for

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
    source_s: float  # what was decoded
    missing_s: float  # what the header promises beyond that


class Unusable(Exception):  # noqa: N818 - a finding about the recording, not a fault
    """A recording that holds no speech for a reason that its samples show."""

    def __init__(self, reason: str, value: float, detail: str, mixed: MixedDown):
        super().__init__(detail)
        self.reason = reason
        self.value = value
        self.source_s = len(mixed.waveform) / mixed.sample_rate
        self.missing_s = mixed.missing_s


def normalize(waveform: Waveform, sample_rate: int, config: NormalizeConfig) -> Normalized:
    """The whole chain for one decoded recording of shape (channels, samples).

    Raises Unusable with the reason "empty", "too_short" or "silent".
    """
    return normalize_mixed(audio.mixed_down(waveform, sample_rate, CLIPPING_LEVEL), config)


def normalize_mixed(mixed: MixedDown, config: NormalizeConfig) -> Normalized:
    """`normalize` for a recording that was mixed down while it was decoded.

    Its waveform is used up: there is never a second one at the same rate. Raises Unusable.
    """
    mono = mixed.waveform
    duration_s = len(mono) / mixed.sample_rate
    if not len(mono):
        raise Unusable("empty", 0.0, "the file has no samples", mixed)
    if duration_s < config.min_duration_s:
        detail = f"it lasts less than {config.min_duration_s:g} s"
        raise Unusable("too_short", duration_s, detail, mixed)
    mono_peak = _peak(mono)
    if mono_peak < 10 ** (config.silence_dbfs / 20):
        peak_dbfs = float(20 * np.log10(max(mono_peak, 1e-10)))  # -200 for all zeros
        detail = f"its peak is below {config.silence_dbfs:g} dB of full scale"
        raise Unusable("silent", peak_dbfs, detail, mixed)
    # At full scale before anything else, so that float32 is equally exact at every level.
    mono /= np.float32(mono_peak)
    mixed.waveform = mono[:0].copy()  # so that what is resampled goes once it is
    mono = audio.resample(mono, mixed.sample_rate, config.sample_rate)
    mono, max_gain_reduction_db = compress(mono, config.sample_rate, config.compressor, out=mono)
    # As `normalize_peak`, in place.
    mono /= np.float32(_peak(mono))
    mono *= np.float32(config.peak)
    return Normalized(
        waveform=mono,
        peak_in=mixed.peak,
        dc_offset=mixed.dc_offset,
        clipped_share=mixed.clipped_share,
        repaired_samples=mixed.repaired_samples,
        max_gain_reduction_db=max_gain_reduction_db,
        source_s=duration_s,
        missing_s=mixed.missing_s,
    )


def _peak(waveform: Waveform) -> float:
    return float(max(waveform.max(), -waveform.min()))


class NormalizeStage(Stage):
    """recordings -> normalized: one row and one FLAC a recording that has sound."""

    step: ClassVar[str] = "normalize"
    version: ClassVar[int] = 3
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
        for recording, outcome, lost in self._normalized(inputs, attempts, not_read):
            rejects += lost
            if outcome is None:
                continue
            recording_id, sample_rate = recording["recording_id"], self.config.sample_rate
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

    def _normalized(
        self, inputs: Mapping[str, Artifact], attempts: Attempts, not_read: dict[str, str]
    ) -> Iterator[tuple[dict, Normalized | None, list[Reject]]]:
        """Recordings, each with what becomes of it and what of it is lost.

        Segments of one file are decoded together.
        """
        together: dict[tuple, list[dict]] = defaultdict(list)
        for recording in known(inputs["recordings"].table, self.layers):
            recording_id = recording["recording_id"]
            if recording_id in attempts.quarantined:
                reject = Reject(recording_id, "quarantined", recording["duration_s"])
                yield recording, None, [reject]
                continue
            # A worker's death is to be pinned on one.
            alone = recording_id if attempts.careful else None
            key = (recording["uri"], recording["stream"], recording["channel"], alone)
            together[key].append(recording)
        for (uri, stream, channel, _), recordings in together.items():
            spans = [Span(recording["start_s"], recording["end_s"]) for recording in recordings]
            with attempts.on([recording["recording_id"] for recording in recordings]):
                try:
                    mixed = audio.decode_mixed_down(uri, CLIPPING_LEVEL, stream, channel, spans)
                except NotReadError as error:
                    not_read |= error.why
                    continue
                except Exception as error:  # one file's fault is its rejects, not the run's end
                    reason, detail = _fault(error)
                    for recording in recordings:
                        name, seconds = recording["recording_id"], recording["duration_s"]
                        yield recording, None, [Reject(name, reason, seconds, detail=detail)]
                    continue
                mixed.reverse()  # so that each goes when it was its turn
                for recording in recordings:
                    yield recording, *self._normalize(recording, mixed.pop())

    def _normalize(
        self, recording: dict, mixed: MixedDown
    ) -> tuple[Normalized | None, list[Reject]]:
        recording_id = recording["recording_id"]
        try:
            normalized = normalize_mixed(mixed, self.config)
            return normalized, list(_damage(recording_id, normalized))
        except Unusable as unusable:
            reason, seconds = unusable.reason, unusable.source_s
            reject = Reject(
                recording_id, reason, seconds, value=unusable.value, detail=str(unusable)
            )
            return None, [reject, *_damage(recording_id, unusable)]
        except Exception as error:  # one recording's fault is its reject, not the run's end
            reason, detail = _fault(error)
            return None, [Reject(recording_id, reason, recording["duration_s"], detail=detail)]


def _fault(error: Exception) -> tuple[str, str]:
    """The reason of a reject and its detail."""
    if isinstance(error, audio.NoChannelError):
        return "empty", str(error)
    if isinstance(error, audio.DecodeError):
        return "unreadable", str(error)
    return "failed", fault(error)


def _damage(recording_id: str, found: Normalized | Unusable) -> Iterator[Reject]:
    """What the header promised and the file does not hold."""
    if found.missing_s:
        held_s, promised_s = found.source_s, found.source_s + found.missing_s
        detail = f"its header says {promised_s:.2f} s, and {held_s:.2f} s can be decoded"
        yield Reject(
            recording_id,
            DAMAGED,
            found.missing_s,
            start_s=held_s,
            end_s=promised_s,
            detail=detail,
        )
