"""What `gpa serve` takes from a client: how much, how long, and how many at once.

Whoever can reach the server can send it anything, so every size is bounded before it is believed.
What no bound can tell, such as silence, the generator refuses.
"""

from __future__ import annotations

from typing import IO

from pydantic import Field

from gpa.curation.audio import DecodeError, Waveform, decode_file
from gpa.eval.generation.prompts import as_speech
from gpa.runtime.config import Config
from gpa.runtime.errors import UserError

# The highest rate and the most channels at which a recording of the longest duration still fits.
_STUDIO_RATE_HZ = 192_000
_STUDIO_CHANNELS = 2


class ServeConfig(Config):
    """The section `eval.serve` of pipelines.yaml."""

    # Requests that are worked on at the same time, each by one thread; and how many more may wait.
    slots: int = Field(2, ge=1)
    queue: int = Field(160, ge=0)
    body_mb: float = Field(16, gt=0)
    text_characters: int = Field(1000, ge=1)
    audio_s: float = Field(30, gt=0)
    # Time for a client to send its request, and to take the next piece of its answer.
    upload_s: float = Field(30, gt=0)
    stall_s: float = Field(30, gt=0)
    # Time for requests to end in after the server was told to stop.
    shutdown_s: int = Field(30, ge=0)

    @property
    def body_bytes(self) -> int:
        """The longest body, with all that multipart adds."""
        return int(self.body_mb * 1_000_000)


def check_text(text: str, config: ServeConfig, field: str = "text") -> str:
    """The text; raises UserError, naming the field that it came in, where it is too long."""
    if len(text) > config.text_characters:
        raise UserError(
            f"The field {field!r} has {len(text):,} characters, and {config.text_characters:,} are "
            "allowed; send it in parts."
        )
    return text


def read_recording(field: str, file: IO[bytes], config: ServeConfig) -> Waveform:
    """Samples (samples,) at 16 kHz of an audio file in any format.

    Raises UserError, naming the field that it came in, for what is no audio or too long. A file
    that is small and says hours is decoded no further than the longest recording may take.
    """
    most = int(config.audio_s * _STUDIO_RATE_HZ * _STUDIO_CHANNELS)
    try:
        channels, sample_rate = decode_file(file, most)
    except DecodeError as error:
        raise UserError(f"The file in the field {field!r} can't be used: {error}.") from None
    duration_s = channels.shape[1] / sample_rate
    if duration_s > config.audio_s:
        raise UserError(
            f"The recording in the field {field!r} lasts {duration_s:.1f} s, and "
            f"{config.audio_s:g} s are allowed; send it in parts."
        )
    return as_speech(channels, sample_rate)
