"""Audio bytes to arrays and back: probing, decoding, mixing down, resampling, FLAC.

Who decodes, and how far a damaged file goes, is decided in `decoding`; whatever reads samples
reads them there, so that all agree on their number.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, cast

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from gpa.curation.decoding.channels import ChannelMeter, Channels
from gpa.curation.decoding.fold import every_stream, fold
from gpa.curation.decoding.places import open_place
from gpa.curation.decoding.sound import DecodeError, Sound, Waveform
from gpa.runtime.errors import NotReadError, one_line

# 8 GiB of float32, which is 6 hours of stereo at 48 kHz: more at once would kill the worker.
MAX_DECODED_VALUES = 2**31


@dataclass(frozen=True)
class Probe:
    """What an audio stream of a file holds, found by decoding all of it."""

    duration_s: float  # what can be decoded, holes in the time stamps included; 0 for nothing
    sample_rate: int
    channels: int
    codec: str  # container and codec, such as "wav/pcm_16" or "matroska,webm/opus"
    heard: bool  # it carries sound
    live_channels: list[int]  # neither dead nor time code; all where there is no telling
    is_call: bool  # those channels are a speaker each


def probe(uri: str) -> list[Probe]:
    """The audio streams of a local path or fsspec URL, in their order.

    All of it is decoded, block by block: headers lie, and only samples tell a call from a scene
    in stereo. Raises DecodeError for what is no audio, and NotReadError.
    """
    with opened(uri) as file:
        return [
            Probe(
                sound.duration_s,
                sound.sample_rate,
                sound.channels,
                sound.codec,
                sound.heard,
                list(channels.live),
                channels.is_call,
            )
            for channels, sound in every_stream(file, _measured, MAX_DECODED_VALUES)
        ]


def decode(uri: str, stream: int | None = None) -> tuple[Waveform, int]:
    """Samples of a local path or fsspec URL, shape (channels, samples), and their rate in Hz.

    Values are in [-1, 1] for integer formats; floating-point files may exceed that and hold NaN
    (see `repair`). A file with a valid header and no samples gives shape (channels, 0). Without
    `stream`, the number of an audio stream, the first that carries sound is decoded. Raises
    DecodeError where nothing can be decoded.
    """
    with opened(uri) as file:
        return decode_file(file, MAX_DECODED_VALUES, stream)


def decode_file(
    file: IO[bytes], max_values: int, stream: int | None = None
) -> tuple[Waveform, int]:
    """`decode` of an open file, whoever sent it: never many more than `max_values` samples.

    They are counted over all channels; raises DecodeError as soon as there are too many.
    """
    waveform, sound = fold(file, _joined, max_values, stream)
    return waveform, sound.sample_rate


@dataclass
class MixedDown:
    """A file as one channel without DC, and what was found in its channels on the way."""

    waveform: Waveform  # (samples,)
    sample_rate: int
    peak: float  # max |x| over the channels, DC included
    clipped_share: float  # of all channels' samples at or above the level asked about
    dc_offset: float  # of the channel where it is greatest
    repaired_samples: int  # NaN and infinite ones, set to zero
    missing_s: float  # that the header promises and the file does not hold


class NoChannelError(DecodeError):
    """The file has no channel with the number that was asked for."""


@dataclass(frozen=True)
class Span:
    """A stretch of a file, in seconds; without an end to where the file ends."""

    start_s: float = 0.0
    end_s: float | None = None


WHOLE = Span()


def mixed_down(waveform: Waveform, sample_rate: int, clipping_level: float) -> MixedDown:
    """`decode_mixed_down` of samples in memory, shape (channels, samples)."""
    sound = Sound(sample_rate, len(waveform), "", iter([waveform]))
    (mix,) = _mixes(sound, clipping_level, None, [WHOLE])
    loudest = mix.loudest_if_cancelled()
    return mix.result(sound, None if loudest is None else repair(waveform[loudest])[0].copy())


def decode_mixed_down(
    uri: str,
    clipping_level: float,
    stream: int | None = None,
    channel: int | None = None,
    spans: Sequence[Span] = (WHOLE,),
) -> list[MixedDown]:
    """`decode` and `mix_down` in blocks: all channels, or one, never at once in memory.

    Gives spans of the file, which is decoded once for all of them. Each channel's DC is taken out.
    Takes little more memory than the samples that it returns. Raises DecodeError as `decode` does,
    and NoChannelError.
    """
    with opened(uri) as file:
        mixes, sound = fold(
            file,
            lambda sound: _mixes(sound, clipping_level, channel, spans),
            MAX_DECODED_VALUES,
            stream,
        )
        found = []
        for mix in mixes:
            loudest, alone = mix.loudest_if_cancelled(), None
            if loudest is not None:
                del mix.waveform
                alone, _ = fold(
                    file, partial(_one_channel, loudest, mix), MAX_DECODED_VALUES, sound.stream
                )
            found.append(mix.result(sound, alone))
        return found


def repair(waveform: Waveform) -> tuple[Waveform, int]:
    """Set NaN and infinite samples to zero; the number of them is the second value."""
    broken = ~np.isfinite(waveform)
    count = int(np.count_nonzero(broken))
    if count:
        waveform = np.where(broken, np.float32(0), waveform)
    return waveform, count


def mix_down(waveform: Waveform) -> Waveform:
    """Mean of the channels, (channels, samples) to (samples,).

    Channels in opposite phase cancel out: where the mean keeps less than a hundredth (-20 dB) of
    the loudest channel's power, that channel is returned instead.
    """
    if waveform.shape[0] == 1:
        return waveform[0]
    mean = waveform.mean(axis=0)
    powers = [_power(channel) for channel in waveform]
    if _cancels(_power(mean), powers):
        return waveform[int(np.argmax(powers))]
    return mean


def resample(waveform: Waveform, from_rate: int, to_rate: int) -> Waveform:
    """Resample (samples,) or (samples, channels) with soxr at high quality."""
    if from_rate == to_rate:
        return waveform
    return soxr.resample(waveform, from_rate, to_rate, quality="HQ").astype(np.float32, copy=False)


def at_rate(
    rate: int, work: Callable[[Waveform], Waveform], waveform: Waveform, sample_rate: int
) -> Waveform:
    """`work` done at a `rate` of its own: the same rate, length and alignment out as in."""
    if not len(waveform):
        return waveform
    done = work(resample(waveform, sample_rate, rate))
    restored = resample(done, rate, sample_rate)[: len(waveform)]
    return np.pad(restored, (0, len(waveform) - len(restored)))


def encode_flac(waveform: Waveform, sample_rate: int) -> bytes:
    """Mono 16-bit FLAC; the same samples always give the same bytes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_flac(data: bytes) -> tuple[Waveform, int]:
    """Samples (samples,) and sample rate of a FLAC that `encode_flac` wrote."""
    waveform, sample_rate = soundfile.read(io.BytesIO(data), dtype="float32")
    return waveform, sample_rate


@contextmanager
def opened(uri: str) -> Iterator[IO[bytes]]:
    """A seekable file, at a path, a URL, or in another file (`gpa.curation.decoding.places`).

    Raises NotReadError where storage does not give it, at whatever byte: decoders take an error
    of reading for the file's end.
    """
    try:
        file = open_place(uri)
    except Exception as error:  # what clients of object stores raise has no common class
        raise NotReadError({uri: one_line(error)}) from error
    with file:
        watched = _Watched(file)
        try:
            yield cast(IO[bytes], watched)  # has all of it that decoders ask for
        finally:
            if watched.failure is not None:
                raise NotReadError({uri: one_line(watched.failure)}) from watched.failure


class _Watched:
    """A file that remembers a failure of its storage."""

    def __init__(self, file: IO[bytes]):
        self._read, self.seek, self.tell = file.read, file.seek, file.tell
        self.failure: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._read(size)
        except Exception as error:
            self.failure = error
            raise


def _measured(sound: Sound) -> Channels:
    meter = ChannelMeter(sound.channels, sound.sample_rate)
    for block in sound.blocks:
        meter.add(block)
    return meter.verdict()


def _joined(sound: Sound) -> Waveform:
    blocks = list(sound.blocks)
    return np.concatenate(blocks, axis=1) if blocks else np.zeros((sound.channels, 0), np.float32)


def _one_channel(channel: int, mix: _Mix, sound: Sound) -> Waveform:
    samples = _Growing()
    for block in _placed(sound):
        samples.add(repair(mix.part(*block)[channel])[0])
    return samples.finished()


def _mixes(
    sound: Sound, clipping_level: float, channel: int | None, spans: Sequence[Span]
) -> list[_Mix]:
    if channel is not None and channel >= sound.channels:
        raise NoChannelError(
            f"the file has {sound.channels} channels, and none with the number {channel}"
        )
    mixes = [_Mix(sound, clipping_level, channel, span) for span in spans]
    for block in _placed(sound):
        for mix in mixes:
            mix.add(*block)
    for mix in mixes:
        mix.finish()
    return mixes


def _placed(sound: Sound) -> Iterator[tuple[Waveform, int]]:
    """Blocks with the place of their first sample."""
    place = 0
    for block in sound.blocks:
        yield block, place
        place += block.shape[1]


class _Mix:
    """The mean of a Sound's channels, or one of them, without DC, and what they were like."""

    def __init__(self, sound: Sound, clipping_level: float, channel: int | None, span: Span):
        rate = sound.sample_rate
        self._first = round(span.start_s * rate)
        self._last = None if span.end_s is None else round(span.end_s * rate)
        self._chosen = slice(None) if channel is None else [channel]
        self._clipping_level = clipping_level
        count = sound.channels if channel is None else 1
        self._sums, self._squares = np.zeros(count), np.zeros(count)
        self._samples = _Growing()
        self.peak, self.clipped, self.repaired = 0.0, 0, 0

    def part(self, block: Waveform, place: int) -> Waveform:
        """What of a block, which begins at sample `place`, lies in the span."""
        last = None if self._last is None else max(0, self._last - place)
        return block[:, max(0, self._first - place) : last]

    def add(self, block: Waveform, place: int) -> None:
        block, repaired = repair(self.part(block, place)[self._chosen])
        if not block.size:
            return
        magnitude = np.abs(block)
        self.peak = max(self.peak, float(magnitude.max(initial=0)))
        self.clipped += int(np.count_nonzero(magnitude >= self._clipping_level))
        self.repaired += repaired
        self._sums += block.sum(axis=1, dtype=np.float64)
        self._squares += np.square(block, dtype=np.float64).sum(axis=1)
        self._samples.add(block[0] if len(block) == 1 else block.mean(axis=0))

    def finish(self) -> None:
        self.waveform = self._samples.finished()
        samples = max(1, len(self.waveform))
        # A single channel's mean is numpy's own, so that nothing depends on the blocks.
        self.offsets = self._sums / samples
        if len(self.offsets) == 1 and len(self.waveform):
            self.offsets = np.array([self.waveform.mean(dtype=np.float64)])
        self._powers = self._squares / samples - self.offsets**2
        self.waveform -= np.float32(self.offsets.mean())
        self._loudest = int(np.argmax(self._powers))

    def loudest_if_cancelled(self) -> int | None:
        """The channel to take where the mean cancels out, by the rule of `mix_down`."""
        if len(self._powers) == 1 or not len(self.waveform):
            return None
        # Not a float64 copy of everything: the sum of a product needs none.
        power = float(np.vdot(self.waveform, self.waveform)) / len(self.waveform)
        return self._loudest if _cancels(power, self._powers) else None

    def result(self, sound: Sound, alone: Waveform | None) -> MixedDown:
        """What was found; `alone` are the samples of the loudest channel where it stands for all."""
        if alone is not None:
            alone -= np.float32(self.offsets[self._loudest])
        waveform = self.waveform if alone is None else alone
        return MixedDown(
            waveform=waveform,
            sample_rate=sound.sample_rate,
            peak=self.peak,
            clipped_share=self.clipped / max(1, len(waveform) * len(self.offsets)),
            dc_offset=float(self.offsets[np.argmax(np.abs(self.offsets))]),
            repaired_samples=self.repaired,
            missing_s=sound.missing_s if self._last is None else 0.0,
        )


class _Growing:
    """Samples in an array that grows in place: no moment holds everything twice."""

    def __init__(self) -> None:
        self._array, self._length = np.zeros(0, np.float32), 0

    def add(self, block: Waveform) -> None:
        length = self._length + len(block)
        if length > len(self._array):
            self._array.resize(length * 9 // 8, refcheck=False)
        self._array[self._length : length] = block
        self._length = length

    def finished(self) -> Waveform:
        array, self._array = self._array, np.zeros(0, np.float32)
        array.resize(self._length, refcheck=False)
        return array


def _cancels(mean_power: float, powers: Sequence[float] | NDArray[np.float64]) -> bool:
    return mean_power < 0.01 * max(powers)


def _power(waveform: Waveform) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64))) if waveform.size else 0.0
