"""Audio files as bytes, in any format, made for tests."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
import soundfile

RATE = 24000


def tone(seconds: float = 1.0, rate: int = RATE, level: float = 0.25) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)).astype("f4")


def wav(waveform: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def wav_header(channels: int, rate: int, data_bytes: int) -> bytes:
    """A 16-bit header that may claim anything."""
    block = 2 * channels
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, 16)
    size = min(data_bytes + 36, 0xFFFFFFFF)
    return (
        b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + struct.pack("<I", 16) + form
        + b"data" + struct.pack("<I", data_bytes)
    )  # fmt: skip


def encoded(waveform: np.ndarray, container: str, codec: str, rate: int = 48000) -> bytes:
    """What FFmpeg writes, for formats that libsndfile does not know."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(waveform[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout="mono", rate=rate,
            frame_size=stream.codec_context.frame_size or 1024,
        )  # fmt: skip
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return buffer.getvalue()
