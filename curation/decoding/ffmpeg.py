"""FFmpeg's part: any audio stream of any container, holes in the time stamps filled with silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, pairwise
from typing import IO

import av
import av.audio.stream
import av.container
import av.error
import numpy as np

from gpa.curation.decoding.containers import Part, PartFile, flac_samples
from gpa.curation.decoding.sound import TOLERANCE_S, Sound, Waveform, plausible

# All holes of a file together: a broken stamp of hours must not become hours of silence.
MAX_HOLES_S = 600.0

_SILENCE_SAMPLES = 1 << 16
# A playlist among the recordings must not make FFmpeg open other files or addresses.
_AV_OPTIONS = {"protocol_whitelist": "none"}
# FFmpeg's own errors, and what PyAV raises for a stream it can't describe.
_AV_ERRORS = (av.error.FFmpegError, ValueError, IndexError)


@contextmanager
def by_ffmpeg(file: IO[bytes], part: Part, number: int) -> Iterator[Sound | None]:
    """An audio stream by its number; None where it can't be decoded."""
    try:
        container = av.open(PartFile(file, part), mode="r", options=_AV_OPTIONS)
    except _AV_ERRORS:
        yield None
        return
    with container:
        try:
            stream = container.streams.audio[number]
            if stream.codec_context is None:  # no decoder knows its codec
                raise ValueError
            frames = _frames(container, stream)
            first = next(frames, None)
        except _AV_ERRORS:
            first = None
        if first is None:
            yield None
            return
        yield Sound(
            first.sample_rate,
            len(first.layout.channels),
            f"{container.format.name}/{stream.codec_context.name}",
            _ffmpeg_blocks(first, frames, _start_s(container)),
            stream=number,
            streams=len(container.streams.audio),
            promised_s=_promised_s(container, stream, file, part),
        )


def _promised_s(
    container: av.container.InputContainer,
    stream: av.audio.stream.AudioStream,
    file: IO[bytes],
    part: Part,
) -> float:
    """The seconds that whoever wrote the file says it has; 0 where FFmpeg would guess them."""
    promised_s = 0.0
    position = file.tell()
    name = container.format.name
    unit_s = float(stream.time_base or 0)
    if name == "flac":
        promised_s = flac_samples(file) / max(1, stream.codec_context.sample_rate)
    elif name == "mp3" and _has_frame_count(file, part):
        promised_s = float(container.duration or 0) / av.time_base
    elif name == "mov,mp4,m4a,3gp,3g2,mj2" and stream.duration:
        late_s = (stream.start_time or 0) * unit_s - _start_s(container)
        promised_s = stream.duration * unit_s + max(0.0, late_s)
    elif name == "matroska,webm":  # counts from its zero, whenever the first packet comes
        if stream.duration:
            promised_s = stream.duration * unit_s - _start_s(container)
        elif len(container.streams) == 1:
            promised_s = float(container.duration or 0) / av.time_base - _start_s(container)
    elif part.promised > 1 and container.duration:
        promised_s = float(container.duration) / av.time_base * part.promised
    file.seek(position)
    return promised_s if plausible(promised_s, part.end - part.start) else 0.0


def _start_s(container: av.container.InputContainer) -> float:
    """The stamp of the file's beginning: that of its earliest stream, which may be video."""
    return float(container.start_time or 0) / av.time_base


def _has_frame_count(file: IO[bytes], part: Part) -> bool:
    """Whether an MP3's first frame says how many follow."""
    file.seek(part.start)
    beginning = file.read(1 << 16)
    return b"Xing" in beginning or b"Info" in beginning


def audio_streams(file: IO[bytes], part: Part) -> int:
    """How many audio streams FFmpeg finds."""
    try:
        with av.open(PartFile(file, part), mode="r", options=_AV_OPTIONS) as container:
            return len(container.streams.audio)
    except _AV_ERRORS:
        return 0


def packets_s(file: IO[bytes], part: Part) -> float:
    """Seconds in the packets of the first audio stream, undecoded."""
    seconds = 0.0
    try:
        with av.open(PartFile(file, part), mode="r", options=_AV_OPTIONS) as container:
            for packet in container.demux(container.streams.audio[0]):
                if packet.duration and packet.time_base:
                    seconds += float(packet.duration * packet.time_base)
    except _AV_ERRORS:
        pass  # the packets before the damage count
    return seconds


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
        yield from (frame for frame in decoded if isinstance(frame, av.AudioFrame))


def _ffmpeg_blocks(
    first: av.AudioFrame, rest: Iterator[av.AudioFrame], start_s: float
) -> Iterator[Waveform]:
    """Samples as float, with silence where the time stamps leave a hole, from `start_s` on."""
    # Rate and layout may change within a stream; the first ones hold for the whole.
    layout, rate, channels = first.layout.name, first.sample_rate, len(first.layout.channels)
    convert: av.AudioResampler | None = None
    source = None
    clock = _Clock(rate, start_s)
    try:
        for frame, following in pairwise(chain([first], rest, [None])):
            assert frame is not None
            for samples in clock.holes(_stamp_s(frame), _stamp_s(following)):
                yield np.zeros((channels, samples), np.float32)
            described = (frame.format.name, frame.layout.name, frame.sample_rate)
            if described != source:
                convert = av.AudioResampler(format="fltp", layout=layout, rate=rate)
                source = described
            assert convert is not None
            for planar in convert.resample(frame):
                block = planar.to_ndarray().astype(np.float32, copy=False)
                clock.samples += block.shape[1]
                yield block
    except _AV_ERRORS:
        return


class _Clock:
    """Where a stream's samples stand against its time stamps."""

    def __init__(self, rate: int, start_s: float):
        self.samples = 0
        self._rate = rate
        self._start_s = start_s  # the stamp that sample 0 would have
        self._left_s = MAX_HOLES_S

    def holes(self, stamp_s: float | None, following_s: float | None) -> Iterator[int]:
        """Samples of silence, in blocks, that belong before a frame with this stamp.

        A stamp that the following one takes back, that runs backwards, or that leads further
        than all holes may, moves the clock and leaves no hole.
        """
        if stamp_s is None:
            return
        hole_s = stamp_s - self._start_s - self.samples / self._rate
        if abs(hole_s) <= TOLERANCE_S:
            return
        if hole_s > 0 and following_s is not None and following_s < stamp_s:
            return
        if not 0 < hole_s <= self._left_s:
            self._start_s += hole_s
            return
        self._left_s -= hole_s
        hole = round(hole_s * self._rate)
        for start in range(0, hole, _SILENCE_SAMPLES):
            block = min(_SILENCE_SAMPLES, hole - start)
            self.samples += block
            yield block


def _stamp_s(frame: av.AudioFrame | None) -> float | None:
    if frame is None or frame.pts is None or frame.time_base is None:
        return None
    return float(frame.pts * frame.time_base)
