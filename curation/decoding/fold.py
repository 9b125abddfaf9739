"""One file's samples, block by block, whoever decodes it: libsndfile or FFmpeg.

libsndfile reads WAV, AIFF, CAF, FLAC and Ogg fastest; PyAV, whose wheel brings FFmpeg, reads the
rest and whatever is damaged. The first bytes decide which, never the file's name. A damaged file
is decoded as far as it goes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TypeVar

import numpy as np
import soundfile
import soxr

from gpa.curation.decoding.containers import Part, PartFile, flac_samples, parts
from gpa.curation.decoding.ffmpeg import audio_streams, by_ffmpeg, packets_s
from gpa.curation.decoding.sound import TOLERANCE_S, DecodeError, Sound, Waveform, plausible

T = TypeVar("T")

# Outside these bounds a header is damaged or the data is no speech.
SAMPLE_RATES_HZ = (4_000, 768_000)
MAX_CHANNELS = 64
# A stream that nowhere exceeds this level carries no sound (-80 dB of full scale).
SILENT_LEVEL = 1e-4

# libsndfile reads MP3 too, but stops at a broken frame and writes about it to the terminal.
_LIBSNDFILE_BEGINNINGS = (b"RIFF", b"RF64", b"FORM", b"caff", b"fLaC", b"OggS")
_BLOCK_FRAMES = 1 << 16


def fold(
    file: IO[bytes], take: Callable[[Sound], T], max_values: int, stream: int | None = None
) -> tuple[T, Sound]:
    """What `take` makes of the blocks of a file, and the exhausted Sound that it took.

    `take` may be called again where a first way of decoding proves to be the worse one. Without
    `stream`, the number of an audio stream, the first that carries sound is taken. Raises
    DecodeError where nothing can be decoded, or more than `max_values` values.
    """

    def taken(sound: Sound) -> T:
        return _taken(sound, take, max_values)

    pieces = parts(file)
    if len(pieces) > 1:
        with _chained(file, pieces) as chain:
            return taken(chain), chain
    part = pieces[0]
    first = None
    with _by_libsndfile(file, part) as sound:
        if sound is not None:
            first = taken(sound), sound
    if first is not None:
        # FFmpeg finds its way behind a damaged frame, where libsndfile stops.
        whole = first[1].complete
        if whole or _seconds_by_ffmpeg(file, part, max_values) <= first[1].duration_s:
            return first
        first = None  # its memory is needed for the second
    return _first_with_sound(file, part, taken, stream)


def every_stream(
    file: IO[bytes], take: Callable[[Sound], T], max_values: int
) -> list[tuple[T, Sound]]:
    """`fold` of all audio streams, in their order; one that can't be decoded has no samples."""
    first = fold(file, take, max_values)
    streams = {first[1].stream: first}
    part = Part(0, file.seek(0, io.SEEK_END))
    for number in range(first[1].streams):
        if number not in streams:
            try:
                with by_ffmpeg(file, part, number) as sound:
                    sound = sound or _nothing(number)
                    streams[number] = _taken(sound, take, max_values), sound
            except DecodeError:
                sound = _nothing(number)
                streams[number] = take(sound), sound
    return [streams[number] for number in sorted(streams)]


def _nothing(stream: int) -> Sound:
    return Sound(SAMPLE_RATES_HZ[0], 1, "", iter(()), stream)


def _taken(sound: Sound, take: Callable[[Sound], T], max_values: int) -> T:
    sound.blocks = _counted(sound, sound.blocks, max_values)
    _check(sound.sample_rate, sound.channels)
    return take(sound)


def _first_with_sound(
    file: IO[bytes], part: Part, taken: Callable[[Sound], T], stream: int | None
) -> tuple[T, Sound]:
    streams = range(audio_streams(file, part))
    candidates = streams if stream is None or stream not in streams else [stream]
    first: int | None = None
    for number in candidates:
        with by_ffmpeg(file, part, number) as sound:
            if sound is None:
                continue
            result = taken(sound)
            if sound.heard or len(candidates) == 1:
                return result, sound
            first = number if first is None else first
    if first is None:
        raise DecodeError("no audio can be decoded from it")
    # None carries sound: the first stands for all.
    with by_ffmpeg(file, part, first) as sound:
        assert sound is not None
        return taken(sound), sound


def _seconds_by_ffmpeg(file: IO[bytes], part: Part, max_values: int) -> float:
    with by_ffmpeg(file, part, 0) as sound:
        if sound is None:
            return 0.0
        for _ in _counted(sound, sound.blocks, max_values):
            pass
        return sound.duration_s


def _counted(sound: Sound, blocks: Iterator[Waveform], max_values: int) -> Iterator[Waveform]:
    for block in blocks:
        sound.samples += block.shape[1]
        if sound.samples * sound.channels > max_values:
            raise DecodeError(f"it is longer than {max_values} samples: split it first")
        if not sound.heard:
            sound.heard = bool(np.max(np.abs(block), initial=0) > SILENT_LEVEL)
        yield block


@contextmanager
def _by_libsndfile(file: IO[bytes], part: Part) -> Iterator[Sound | None]:
    """A sound that libsndfile is trusted with; None where FFmpeg is to decode it."""
    file.seek(part.start)
    if file.read(4) not in _LIBSNDFILE_BEGINNINGS:
        yield None
        return
    try:
        opened = soundfile.SoundFile(PartFile(file, part))
    except soundfile.LibsndfileError:
        yield None
        return
    with opened:
        codec = f"{opened.format}/{opened.subtype}".lower()
        sound = Sound(opened.samplerate, opened.channels, codec, iter(()))
        sound.blocks = _libsndfile_blocks(opened, sound, file, part)
        yield sound


def _libsndfile_blocks(
    opened: soundfile.SoundFile, sound: Sound, file: IO[bytes], part: Part
) -> Iterator[Waveform]:
    """In blocks, so that a lying header allocates nothing."""
    read = 0
    try:
        while len(block := opened.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
            read += len(block)
            yield block.T
    except soundfile.LibsndfileError:
        sound.complete = False
    sound.complete &= read >= opened.frames
    sound.promised_s = read * part.promised / sound.sample_rate
    if opened.format == "FLAC":
        promised_s = flac_samples(file) / sound.sample_rate
        if plausible(promised_s, part.end - part.start):
            sound.promised_s = promised_s
        # Frames that go on behind the promised number of samples.
        sound.complete &= packets_s(file, part) <= read / sound.sample_rate + TOLERANCE_S


@contextmanager
def _chained(file: IO[bytes], pieces: list[Part]) -> Iterator[Sound]:
    """Files laid end to end, at the rate and with the channels of the first."""
    with _opened_part(file, pieces[0]) as first:
        if first is None:
            raise DecodeError("no audio can be decoded from it")
        sound = Sound(first.sample_rate, first.channels, first.codec, iter(()))
        sound.blocks = _chain_blocks(file, first, pieces[1:])
        yield sound


def _chain_blocks(file: IO[bytes], first: Sound, others: list[Part]) -> Iterator[Waveform]:
    yield from first.blocks
    for part in others:
        with _opened_part(file, part) as link:
            if link is not None:
                yield from _alike(link, first)


@contextmanager
def _opened_part(file: IO[bytes], part: Part) -> Iterator[Sound | None]:
    with _by_libsndfile(file, part) as sound:
        if sound is not None:
            yield sound
            return
    with by_ffmpeg(file, part, 0) as sound:
        yield sound


def _alike(link: Sound, first: Sound) -> Iterator[Waveform]:
    """A link's blocks with the channels and the rate of the first."""
    convert = None
    if link.sample_rate != first.sample_rate:
        convert = soxr.ResampleStream(
            link.sample_rate, first.sample_rate, first.channels, dtype="float32"
        )
    for block in link.blocks:
        if link.channels != first.channels:
            block = np.repeat(block.mean(axis=0, keepdims=True), first.channels, axis=0)
        yield convert.resample_chunk(np.ascontiguousarray(block.T)).T if convert else block
    if convert:
        yield convert.resample_chunk(np.zeros((0, first.channels), np.float32), last=True).T


def _check(sample_rate: int, channels: int) -> None:
    least, most = SAMPLE_RATES_HZ
    if not least <= sample_rate <= most:
        raise DecodeError(f"its sample rate of {sample_rate} Hz is outside {least} to {most} Hz")
    if not 1 <= channels <= MAX_CHANNELS:
        raise DecodeError(f"it has {channels} channels, and 1 to {MAX_CHANNELS} are accepted")
