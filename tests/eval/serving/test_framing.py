"""Speech and text as bytes: what other programs read of them."""

from __future__ import annotations

import io
import json
import wave

import numpy as np
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gpa.curation.audio import decode_file
from gpa.eval.serving.framing import PCM, WAV, Events, pcm16

waveforms = arrays.arrays(
    np.float32, st.integers(1, 400), elements=st.floats(-2, 2, width=32, allow_nan=False)
)


def framed(framing, pieces) -> bytes:
    return b"".join([framing.begin(), *map(framing.frame, pieces), framing.end()])


@given(waveforms, st.lists(st.integers(0, 400)))
def test_pieces_are_the_bytes_of_the_whole(waveform, cuts):
    pieces = np.split(waveform, sorted(min(cut, len(waveform)) for cut in cuts))
    assert framed(PCM(), pieces) == pcm16(waveform)


@given(waveforms)
def test_samples_come_back_to_half_a_step(waveform):
    back = np.frombuffer(pcm16(waveform), "<i2") / 32767
    assert np.max(np.abs(back - np.clip(waveform, -1, 1))) <= 0.5 / 32767 + 1e-6


def test_a_wav_of_open_length_is_read_to_its_end():
    waveform = np.sin(np.arange(8000) / 20).astype(np.float32) / 2
    data = framed(WAV(), np.split(waveform, [100, 101, 4000]))

    read, sample_rate = soundfile.read(io.BytesIO(data), dtype="int16")
    assert (sample_rate, read.tobytes()) == (16000, pcm16(waveform))
    with wave.open(io.BytesIO(data)) as file:
        assert file.getparams()[:3] == (1, 2, 16000)
        assert file.readframes(8001) == pcm16(waveform)
    channels, sample_rate = decode_file(io.BytesIO(data), 8000)
    assert (sample_rate, channels.shape) == (16000, (1, 8000))


@given(st.lists(st.text(max_size=8), max_size=8))
def test_events_carry_any_text(pieces):
    *texts, done = framed(Events(), pieces).decode().removesuffix("\n\n").split("\n\n")
    assert [json.loads(event.removeprefix("data: "))["text"] for event in texts] == pieces
    name, data = done.split("\n")
    assert name == "event: done"
    assert json.loads(data.removeprefix("data: "))["text"] == "".join(pieces)
