"""Audio bytes to arrays and back: probing, decoding, mixing down, resampling, FLAC.

libsndfile reads WAV, AIFF, CAF, FLAC and Ogg fastest; PyAV, whose wheel brings FFmpeg, reads the
rest and whatever is damaged. The first bytes decide which, never the file's name. A damaged file
is decoded as far as it goes, and a header that promises more than the file holds is not believed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import av
import av.audio.stream
import av.container
import av.error
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from gpa.curation.places import open_place
from gpa.runtime.errors import NotReadError, one_line

Waveform = NDArray[np.float32]

# Outside these bounds a header is damaged or the data is no speech.
SAMPLE_RATES_HZ = (4_000, 768_000)
MAX_CHANNELS = 64
# 8 GiB of float32, which is 6 hours of stereo at 48 kHz: more at once would kill the worker.
MAX_DECODED_VALUES = 2**31
# Fewer bits a second than any codec of speech needs: the header announces what is not there.
MIN_BITS_PER_SECOND = 100

# libsndfile reads MP3 too, but stops at a broken frame and writes about it to the terminal.
_LIBSNDFILE_BEGINNINGS = (b"RIFF", b"RF64", b"FORM", b"caff", b"fLaC", b"OggS")
_BLOCK_FRAMES = 1 << 16
# A playlist among the recordings must not make FFmpeg open other files or addresses.
_AV_OPTIONS = {"protocol_whitelist": "none"}
# FFmpeg's own errors, and what PyAV raises for a stream it can't describe.
_AV_ERRORS = (av.error.FFmpegError, ValueError, IndexError)


class DecodeError(Exception):
    """Why a file gives no audio, in one line."""


@dataclass(frozen=True)
class Probe:
    """What a file's header says, before anything is decoded."""

    duration_s: float
    sample_rate: int
    channels: int
    codec: str  # container and codec, such as "wav/pcm_16" or "matroska,webm/opus"


def probe(uri: str) -> Probe:
    """Duration, rate, channels and codec of a local path or fsspec URL, without decoding.

    Packets are counted where the container does not know its duration or announces one that
    its bytes can't hold. Raises DecodeError for what is no audio.
    """
    with opened(uri) as file:
        found = _probe_soundfile(file) if _is_for_libsndfile(file) else None
        if found is None or not _plausible(found, file):
            file.seek(0)
            found = _probe_av(file) or found
    if found is None:
        raise DecodeError("no audio format is recognised in it")
    _check(found.sample_rate, found.channels)
    return found


def decode(uri: str) -> tuple[Waveform, int]:
    """Samples of a local path or fsspec URL, shape (channels, samples), and their rate in Hz.

    Values are in [-1, 1] for integer formats; floating-point files may exceed that and hold NaN
    (see `repair`). A file with a valid header and no samples gives shape (channels, 0). Raises
    DecodeError where nothing can be decoded.
    """
    with opened(uri) as file:
        return _decode(file, MAX_DECODED_VALUES)


def decode_file(file: IO[bytes], max_values: int) -> tuple[Waveform, int]:
    """`decode` of an open file, whoever sent it: never many more than `max_values` samples.

    They are counted over all channels; raises DecodeError as soon as there are too many.
    """
    return _decode(_Nameless(file), max_values)


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
    if _power(mean) < 0.01 * max(powers):
        return waveform[int(np.argmax(powers))]
    return mean


def resample(waveform: Waveform, from_rate: int, to_rate: int) -> Waveform:
    """Resample (samples,) or (samples, channels) with soxr at high quality."""
    if from_rate == to_rate:
        return waveform
    return soxr.resample(waveform, from_rate, to_rate, quality="HQ").astype(np.float32, copy=False)


def encode_flac(waveform: Waveform, sample_rate: int) -> bytes:
    """Mono 16-bit FLAC; the same samples always give the same bytes."""
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_flac(data: bytes) -> tuple[Waveform, int]:
    """Samples (samples,) and sample rate of a FLAC that `encode_flac` wrote."""
    waveform, sample_rate = soundfile.read(io.BytesIO(data), dtype="float32")
    return waveform, sample_rate


def _decode(file: io.RawIOBase, max_values: int) -> tuple[Waveform, int]:
    decoded = _decode_soundfile(file, max_values) if _is_for_libsndfile(file) else None
    if decoded is not None and decoded.complete:
        return decoded.waveform, decoded.sample_rate
    file.seek(0)
    # FFmpeg finds its way behind a damaged frame, where libsndfile stops.
    recovered = _decode_av(file, max_values)
    candidates = [found for found in (decoded, recovered) if found is not None]
    if not candidates:
        raise DecodeError("no audio can be decoded from it")
    best = max(candidates, key=lambda found: found.waveform.shape[1])
    return best.waveform, best.sample_rate


@dataclass(frozen=True)
class _Decoded:
    waveform: Waveform
    sample_rate: int
    complete: bool  # as long as the header says, without an error on the way


@contextmanager
def opened(uri: str) -> Iterator[io.RawIOBase]:
    """A seekable file, at a path, a URL, or in another file (`gpa.curation.places`).

    Raises NotReadError where storage does not give it, at whatever byte: decoders take an error
    of reading for the file's end.
    """
    try:
        file = open_place(uri)
    except Exception as error:  # what clients of object stores raise has no common class
        raise NotReadError({uri: one_line(error)}) from error
    with file:
        nameless = _Nameless(file)
        try:
            yield nameless
        finally:
            if nameless.failure is not None:
                raise NotReadError({uri: one_line(nameless.failure)}) from nameless.failure


class _Nameless(io.RawIOBase):
    """A file without its name, so that no decoder can judge the content by the extension."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self.failure: Exception | None = None  # of the storage that it lies on

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        try:
            data = self._file.read(len(buffer))
        except Exception as error:
            self.failure = error
            raise
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _is_for_libsndfile(file: io.RawIOBase) -> bool:
    beginning = file.read(4)
    file.seek(0)
    return beginning in _LIBSNDFILE_BEGINNINGS


def _probe_soundfile(file: io.RawIOBase) -> Probe | None:
    try:
        with soundfile.SoundFile(file) as sound:
            return Probe(
                duration_s=sound.frames / sound.samplerate if sound.samplerate else 0.0,
                sample_rate=sound.samplerate,
                channels=sound.channels,
                codec=f"{sound.format}/{sound.subtype}".lower(),
            )
    except soundfile.LibsndfileError:
        return None


def _probe_av(file: io.RawIOBase) -> Probe | None:
    try:
        with av.open(file, mode="r", options=_AV_OPTIONS) as container:
            stream = _audio_stream(container)
            codec = f"{container.format.name}/{stream.codec_context.name}"
            rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
            announced = float(container.duration or 0) / av.time_base
            found = Probe(announced, rate, channels, codec)
            if not announced or not _plausible(found, file):
                found = Probe(_packets_s(container, stream), rate, channels, codec)
            return found
    except _AV_ERRORS:
        return None


def _plausible(found: Probe, file: io.RawIOBase) -> bool:
    """Whether the file has bytes enough for the duration that its header announces."""
    position = file.tell()
    bits = 8 * file.seek(0, io.SEEK_END)
    file.seek(position)
    return found.duration_s * MIN_BITS_PER_SECOND <= bits


def _packets_s(
    container: av.container.InputContainer, stream: av.audio.stream.AudioStream
) -> float:
    """Duration from first to last packet, for containers that do not say it."""
    first_s, last_s = float("inf"), 0.0
    try:
        for packet in container.demux(stream):
            if packet.pts is None or packet.time_base is None:
                continue
            start_s = float(packet.pts * packet.time_base)
            first_s = min(first_s, start_s)
            last_s = max(last_s, start_s + float((packet.duration or 0) * packet.time_base))
    except av.error.FFmpegError:
        pass  # the packets before the damage count
    return max(0.0, last_s - first_s)


def _decode_soundfile(file: io.RawIOBase, max_values: int) -> _Decoded | None:
    """What libsndfile reads; in blocks, so that a lying header allocates nothing."""
    blocks: list[Waveform] = []
    try:
        with soundfile.SoundFile(file) as sound:
            _check(sound.samplerate, sound.channels)
            rate, channels, announced = sound.samplerate, sound.channels, sound.frames
            complete = True
            values = 0
            try:
                while len(block := sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
                    blocks.append(block)
                    values += block.size
                    _check_size(values, max_values)
            except soundfile.LibsndfileError:
                complete = False
    except soundfile.LibsndfileError:
        return None
    frames = np.concatenate(blocks) if blocks else np.zeros((0, channels), np.float32)
    return _Decoded(np.ascontiguousarray(frames.T), rate, complete and len(frames) >= announced)


def _decode_av(file: io.RawIOBase, max_values: int) -> _Decoded | None:
    """What FFmpeg decodes of the first audio stream, with broken packets left out."""
    blocks: list[Waveform] = []
    values = 0
    try:
        with av.open(file, mode="r", options=_AV_OPTIONS) as container:
            stream = _audio_stream(container)
            convert: av.AudioResampler | None = None
            source = None
            for frame in _frames(container, stream):
                if convert is None:
                    _check(frame.sample_rate, len(frame.layout.channels))
                    layout, rate = frame.layout.name, frame.sample_rate
                # Rate and layout may change within a stream; the first ones hold for the whole.
                described = (frame.format.name, frame.layout.name, frame.sample_rate)
                if described != source:
                    convert = av.AudioResampler(format="fltp", layout=layout, rate=rate)
                    source = described
                assert convert is not None
                for planar in convert.resample(frame):
                    blocks.append(planar.to_ndarray().astype(np.float32, copy=False))
                    values += blocks[-1].size
                    _check_size(values, max_values)
    except _AV_ERRORS:
        if not blocks:
            return None
    if not blocks:
        return None
    return _Decoded(np.concatenate(blocks, axis=1), rate, complete=False)


def _audio_stream(container: av.container.InputContainer) -> av.audio.stream.AudioStream:
    """The first audio stream; raises ValueError or IndexError where none can be decoded."""
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise ValueError("no decoder knows its codec")
    return stream


def _frames(
    container: av.container.InputContainer, stream: av.audio.stream.AudioStream
) -> Iterator[av.AudioFrame]:
    """Decoded frames; a packet that can't be decoded is skipped, an unreadable rest is the end."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            return
        if packet is None:
            return
        try:
            decoded = packet.decode()
        except av.error.FFmpegError:
            continue
        for frame in decoded:
            if isinstance(frame, av.AudioFrame):
                yield frame


def _check(sample_rate: int, channels: int) -> None:
    least, most = SAMPLE_RATES_HZ
    if not least <= sample_rate <= most:
        raise DecodeError(f"its sample rate of {sample_rate} Hz is outside {least} to {most} Hz")
    if not 1 <= channels <= MAX_CHANNELS:
        raise DecodeError(f"it has {channels} channels, and 1 to {MAX_CHANNELS} are accepted")


def _check_size(values: int, max_values: int) -> None:
    if values > max_values:
        raise DecodeError(f"it is longer than {max_values} samples: split it first")


def _power(waveform: Waveform) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64))) if waveform.size else 0.0
