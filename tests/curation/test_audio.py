"""Decoding: any content under any name, damaged or not, from a path or a URL."""

from __future__ import annotations

import struct
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation import audio
from gpa.runtime.errors import NotReadError
from tests.curation.sounds import RATE, encoded, tone, wav, wav_header


def stored(tmp_path: Path, data: bytes, name: str = "recording") -> str:
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


class TestFormats:
    @pytest.mark.parametrize(
        ("container", "codec"),
        [("ipod", "aac"), ("mp4", "aac"), ("adts", "aac"), ("webm", "libopus"), ("mp3", "mp3")],
    )
    def test_formats_of_ffmpeg(self, tmp_path, container, codec):
        uri = stored(tmp_path, encoded(tone(2.0, 48000), container, codec))
        waveform, rate = audio.decode(uri)
        (found,) = audio.probe(uri)
        assert (found.sample_rate, found.channels) == (rate, 1) == (48000, waveform.shape[0])
        assert waveform.dtype == np.float32
        # Codecs pad to whole frames, and ADTS knows its duration only from its bit rate.
        assert waveform.shape[1] / rate == pytest.approx(2.0, abs=0.1)
        assert found.duration_s == pytest.approx(2.0, rel=0.5 if container == "adts" else 0.05)
        assert np.sqrt(np.mean(waveform**2)) == pytest.approx(0.25 / np.sqrt(2), rel=0.1)

    @pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
    @pytest.mark.parametrize("rate", [8000, 44100, 96000])
    def test_sample_formats_give_the_same_samples(self, tmp_path, subtype, rate):
        uri = stored(tmp_path, wav(tone(0.5, rate), rate, subtype))
        waveform, found_rate = audio.decode(uri)
        assert found_rate == rate
        np.testing.assert_allclose(waveform[0], tone(0.5, rate), atol=0.01)

    def test_channels_come_first(self, tmp_path):
        channels = np.stack([tone(level=0.1 * n) for n in range(1, 7)])
        waveform, _ = audio.decode(stored(tmp_path, wav(channels.T, subtype="FLOAT")))
        np.testing.assert_array_equal(waveform, channels)

    @pytest.mark.parametrize(
        "name", ["a.raw", "a.mp3", "a b'\"\n#?%20 ñ空.wav", "a::b.flac", "none"]
    )
    def test_the_name_says_nothing(self, tmp_path, name):
        waveform, _ = audio.decode(stored(tmp_path, wav(tone(), subtype="FLOAT"), name))
        np.testing.assert_array_equal(waveform[0], tone())

    def test_a_url_of_fsspec(self):
        with fsspec.open("memory://corpus/a.wav", "wb") as file:
            file.write(wav(tone(), subtype="FLOAT"))
        assert audio.probe("memory://corpus/a.wav")[0].duration_s == 1.0
        np.testing.assert_array_equal(audio.decode("memory://corpus/a.wav")[0][0], tone())


class TestDamage:
    @pytest.mark.parametrize("codec", ["wav", "flac", "mp3"])
    def test_a_truncated_file_is_decoded_as_far_as_it_goes(self, tmp_path, codec):
        noise = np.random.default_rng(0).normal(0, 0.1, 10 * RATE).astype("f4")
        if codec == "mp3":
            whole = encoded(noise, "mp3", "mp3", RATE)
        else:
            whole = wav(noise) if codec == "wav" else audio.encode_flac(noise, RATE)
        waveform, rate = audio.decode(stored(tmp_path, whole[: len(whole) // 2]))
        assert waveform.shape[1] / rate == pytest.approx(5.0, abs=0.5)
        if codec != "mp3":
            np.testing.assert_allclose(waveform[0], noise[: waveform.shape[1]], atol=1e-4)

    def test_decoding_goes_on_behind_a_damaged_frame(self, tmp_path):
        whole = bytearray(encoded(tone(10), "mp3", "mp3", RATE))
        middle = len(whole) // 2
        whole[middle : middle + 2000] = np.random.default_rng(0).bytes(2000)
        waveform, rate = audio.decode(stored(tmp_path, bytes(whole)))
        assert waveform.shape[1] / rate > 9
        assert np.sqrt(np.mean(waveform[0, -2 * RATE : -RATE] ** 2)) == pytest.approx(
            0.177, rel=0.1
        )

    def test_a_header_that_announces_4_gb_gives_the_real_length(self, tmp_path):
        samples = struct.pack("<100h", *range(100))
        uri = stored(tmp_path, wav_header(1, 16000, 0xFFFFFFFF - 36) + samples)
        assert audio.probe(uri)[0].duration_s == pytest.approx(100 / 16000)
        assert audio.decode(uri)[0].shape == (1, 100)

    def test_a_flac_that_announces_days_is_measured_by_its_packets(self, tmp_path):
        whole = bytearray(audio.encode_flac(tone(2), RATE))
        whole[21] |= 0x0F  # the four high bits of STREAMINFO's 36 bits of total samples
        uri = stored(tmp_path, bytes(whole))
        assert audio.probe(uri)[0].duration_s == pytest.approx(2.0, abs=0.2)
        assert audio.decode(uri)[0].shape[1] == pytest.approx(2 * RATE, abs=4096)

    @pytest.mark.parametrize(
        ("data", "complaint"),
        [
            (b"", "no audio"),
            (b"These are words.\n" * 40, "no audio"),
            (wav_header(255, 16000, 1000) + bytes(1020), "255 channels"),
            (wav_header(1, 1, 1000) + bytes(1000), "1 Hz"),
            (wav_header(1, 16000, 1000)[:30], "no audio"),
            (b"fLaC" + bytes(200), "no audio"),
            (b"ID3\x04\0\0\0\0\0\0" + bytes(200), "no audio"),
        ],
        ids=["empty", "text", "255 channels", "1 Hz", "half a header", "no flac", "no mp3"],
    )  # fmt: skip
    def test_what_is_no_audio_is_an_error_of_one_line(self, tmp_path, data, complaint):
        uri = stored(tmp_path, data, "a.wav")
        for read in (audio.probe, audio.decode):
            with pytest.raises(audio.DecodeError, match=complaint) as raised:
                read(uri)
            assert "\n" not in str(raised.value)

    @pytest.mark.parametrize(
        "uri", ["/no/such/file.wav", "memory://no/such.wav", "nonsense://a.wav"]
    )
    def test_what_storage_does_not_give_is_no_finding_about_its_bytes(self, uri):
        with pytest.raises(NotReadError, match=uri):
            audio.decode(uri)

    def test_a_playlist_opens_no_other_file(self, tmp_path):
        secret = stored(tmp_path, encoded(tone(2, 48000), "adts", "aac"), "secret.aac")
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n"
        with pytest.raises(audio.DecodeError):
            audio.decode(stored(tmp_path, playlist.encode(), "list.m3u8"))

    @given(st.binary(max_size=300), st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"\xff\xfb"]))
    def test_random_bytes_give_samples_or_a_decode_error(self, data, beginning):
        with fsspec.open("memory://random", "wb") as file:
            file.write(beginning + data)
        try:
            waveform, _ = audio.decode("memory://random")
        except audio.DecodeError:
            return
        assert waveform.ndim == 2

    def test_nan_and_infinity_become_zero_and_are_counted(self):
        broken = np.array([[0.5, np.nan, np.inf], [-np.inf, 0.25, 0]], np.float32)
        repaired, count = audio.repair(broken)
        assert count == 3
        np.testing.assert_array_equal(repaired, [[0.5, 0, 0], [0, 0.25, 0]])


class TestMixDown:
    def test_the_mean_of_the_channels(self):
        left, right = tone(level=0.2), np.roll(tone(level=0.4), 30)
        np.testing.assert_allclose(audio.mix_down(np.stack([left, right])), (left + right) / 2)

    def test_opposite_phases_do_not_cancel_out(self):
        waveform = np.stack([tone(), -tone()])
        np.testing.assert_array_equal(audio.mix_down(waveform), tone())

    def test_a_dead_channel_halves_the_level_and_no_more(self):
        waveform = np.stack([tone(), np.zeros(RATE, np.float32)])
        np.testing.assert_allclose(audio.mix_down(waveform), tone() / 2)


def test_flac_keeps_16_bits_and_is_deterministic():
    data = audio.encode_flac(tone(), RATE)
    assert data == audio.encode_flac(tone(), RATE)
    waveform, rate = audio.decode_flac(data)
    assert rate == RATE
    np.testing.assert_allclose(waveform, tone(), atol=1 / 32768)


def test_probe_and_decode_agree_with_the_manifest(shared_speech):
    """One file of each folder, against the durations found by another decoder."""
    import json

    seen = set()
    for line in (shared_speech / "manifest.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["category"] in seen or entry["category"] == "edge":
            continue
        seen.add(entry["category"])
        waveform, rate = audio.decode(str(shared_speech / entry["path"]))
        (found,) = audio.probe(str(shared_speech / entry["path"]))
        assert waveform.shape[1] / rate == pytest.approx(entry["duration_s"], abs=0.05)
        assert found.duration_s == pytest.approx(entry["duration_s"], abs=0.05)
        assert (found.sample_rate, found.channels) == (entry["sample_rate"], entry["channels"])
    assert len(seen) >= 5
