"""Speech and text as bytes on the way to a listener: what is made is framed and sent at once.

Speech is 16-bit PCM, little-endian, mono at 16 kHz, with or without a WAV header. Text is a stream
of server-sent events (WHATWG HTML, section 9.2), with JSON as data, so that a line break in it
stays one.
"""

from __future__ import annotations

import json
import struct

import numpy as np

from gpa.curation.audio import Waveform
from gpa.tokenize.clips import SAMPLE_RATE

BYTES_PER_SAMPLE = 2
# How long a stream becomes is not known when its header is sent: as FFmpeg does, all ones.
_UNKNOWN_SIZE = 0xFFFFFFFF
_PCM = 1


class Framing:
    """How the pieces of one answer become bytes; one object an answer."""

    media_type: str

    def begin(self) -> bytes:
        """What goes before the first piece."""
        return b""

    def frame(self, piece: Waveform | str) -> bytes:
        """One piece."""
        raise NotImplementedError

    def end(self) -> bytes:
        """What goes after the last piece."""
        return b""


class PCM(Framing):
    """Speech without a header."""

    media_type = f"audio/pcm;rate={SAMPLE_RATE}"

    def frame(self, piece: Waveform | str) -> bytes:
        assert not isinstance(piece, str)
        return pcm16(piece)


class WAV(PCM):
    """Speech behind a header that leaves its length open."""

    media_type = "audio/wav"

    def begin(self) -> bytes:
        return wav_header()


class Events(Framing):
    """Text as events: `data: {"text": ...}` a piece, then `event: done` with the whole text."""

    media_type = "text/event-stream"

    def __init__(self) -> None:
        self._whole = ""

    def frame(self, piece: Waveform | str) -> bytes:
        assert isinstance(piece, str)
        self._whole += piece
        return _event({"text": piece})

    def end(self) -> bytes:
        return b"event: done\n" + _event({"text": self._whole})


def pcm16(waveform: Waveform) -> bytes:
    """Samples (samples,) in [-1, 1] as 16-bit little-endian; what lies outside is clipped."""
    scaled = np.rint(np.clip(waveform, -1, 1) * np.float32(32767))
    return scaled.astype("<i2").tobytes()


def wav_header() -> bytes:
    """The 44 bytes before mono 16-bit PCM at 16 kHz of a length that is not known yet."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", _UNKNOWN_SIZE, b"WAVE"),
        *(b"fmt ", 16, _PCM, 1, SAMPLE_RATE, SAMPLE_RATE * BYTES_PER_SAMPLE),
        *(BYTES_PER_SAMPLE, 8 * BYTES_PER_SAMPLE),
        *(b"data", _UNKNOWN_SIZE),
    )


def _event(data: dict[str, str]) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
