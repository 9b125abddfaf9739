"""What a client's text and recordings may be, and how little is believed of them."""

from __future__ import annotations

import io
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from gpa.eval.serving.limits import ServeConfig, check_text, read_recording
from gpa.runtime.errors import UserError

CONFIG = ServeConfig(audio_s=2, text_characters=10)


def tone(seconds: float, sample_rate: int) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 220 * np.arange(int(seconds * sample_rate)) / sample_rate)


def file(waveform: np.ndarray, sample_rate: int, kind: str = "WAV") -> io.BytesIO:
    data = io.BytesIO()
    soundfile.write(data, waveform, sample_rate, format=kind)
    data.seek(0)
    return data


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100])
def test_any_format_becomes_16_khz(kind: str, sample_rate: int):
    waveform = read_recording("voice", file(tone(1.0, sample_rate), sample_rate, kind), CONFIG)
    assert waveform.dtype == np.float32
    assert len(waveform) == pytest.approx(16000, abs=1600)  # what a lossy codec adds
    spectrum = np.abs(np.fft.rfft(waveform[:16000]))
    assert abs(int(spectrum.argmax()) - 220) <= 1


def test_channels_are_mixed_and_broken_samples_repaired():
    stereo = np.stack([tone(1, 16000), tone(1, 16000)], axis=1).astype(np.float32)
    stereo[100] = np.nan
    data = io.BytesIO()
    soundfile.write(data, stereo, 16000, format="WAV", subtype="FLOAT")
    data.seek(0)
    waveform = read_recording("audio", data, CONFIG)
    assert waveform.shape == (16000,)
    assert np.isfinite(waveform).all()


@pytest.mark.parametrize("data", [b"", b"RIFF", b"not audio at all", b"\x00" * 5000])
def test_what_is_no_audio_is_named_by_its_field(data: bytes):
    with pytest.raises(UserError, match="field 'voice' can't be used"):
        read_recording("voice", io.BytesIO(data), CONFIG)


@given(st.binary(max_size=400), st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"ID3\x03"]))
def test_junk_is_never_more_than_an_error_for_people(junk: bytes, beginning: bytes):
    try:
        read_recording("audio", io.BytesIO(beginning + junk), CONFIG)
    except UserError as error:
        assert str(error).endswith(".")  # noqa: PT017 - junk may be audio by chance


def test_too_long_is_refused_with_both_numbers():
    with pytest.raises(UserError, match=r"lasts 2\.5 s, and 2 s are allowed"):
        read_recording("audio", file(tone(2.5, 16000), 16000), CONFIG)


def test_a_small_file_of_hours_is_not_decoded_to_its_end():
    hour = file(np.zeros(16000 * 3600, np.int16), 16000, "FLAC")
    assert len(hour.getvalue()) < 1_000_000
    tracemalloc.start()
    with pytest.raises(UserError, match="is longer than 768000 samples"):
        read_recording("audio", hour, CONFIG)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 10_000_000  # all of it is 230 MB


def test_a_header_that_promises_hours_is_not_believed():
    data = bytearray(file(tone(1, 16000), 16000).getvalue())
    data[40:44] = struct.pack("<I", 0xFFFFFFF0)
    assert len(read_recording("audio", io.BytesIO(data), CONFIG)) == 16000


def test_text_has_a_longest_length():
    assert check_text("ten signs.", CONFIG) == "ten signs."
    with pytest.raises(UserError, match="has 11 characters, and 10 are allowed"):
        check_text("ten signs..", CONFIG)
