"""Headers that end too early, holes in time stamps, several streams, a speaker a channel."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pytest
import soundfile

from gpa.curation import audio
from gpa.curation.decoding import ffmpeg
from gpa.curation.ingest.corpus import find
from gpa.curation.ingest.stage import IngestConfig, arrange, chunks, probe_stage
from gpa.curation.normalize import NormalizeConfig, NormalizeStage
from gpa.runtime.stage import Artifact, NoAttempts, rows
from tests.curation.sounds import RATE, encoded, tone, wav

SECONDS = 6


def written(kind: str, subtype: str = "PCM_16", seconds: float = SECONDS) -> bytearray:
    buffer = io.BytesIO()
    soundfile.write(buffer, speech(seconds), RATE, format=kind, subtype=subtype)
    return bytearray(buffer.getvalue())


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise in syllables and pauses, as far as levels tell."""
    draw = np.random.default_rng(seed)
    gains = np.repeat(10 ** draw.uniform(-3, -0.7, round(seconds * 5)), RATE // 5)
    return (gains * draw.uniform(-1, 1, len(gains))).astype(np.float32)


def put(data: bytearray, name: bytes, offset: int, number: bytes) -> bytearray:
    place = data.index(name) + offset
    data[place : place + len(number)] = number
    return data


def cut_short() -> dict[str, bytearray]:
    """Whole files whose headers say less, or nothing."""
    flac = written("FLAC")
    total = int.from_bytes(flac[18:26], "big")
    flac[18:26] = (total - 4 * RATE).to_bytes(8, "big")
    return {
        "wav of a crashed recorder": put(
            put(written("WAV"), b"data", 4, bytes(4)), b"RIFF", 4, bytes(4)
        ),
        "wav that says 2 s": put(written("WAV"), b"data", 4, struct.pack("<I", 4 * RATE)),
        "wav that says 4 GB": put(written("WAV"), b"data", 4, b"\xff" * 4),
        "rf64 that says 2 s": put(
            put(written("RF64"), b"ds64", 16, struct.pack("<Q", 4 * RATE)), b"data", 4, b"\xff" * 4
        ),
        "aiff that says 2 s": put(
            put(written("AIFF"), b"SSND", 4, struct.pack(">I", 4 * RATE + 8)),
            b"COMM", 10, struct.pack(">I", 2 * RATE),
        ),
        "caf of unknown size": put(written("CAF"), b"data", 4, b"\xff" * 8),
        "w64 that says 2 s": put(
            written("W64"), b"data\xf3\xac", 16, struct.pack("<Q", 4 * RATE + 24)
        ),
        "au of unknown size": put(written("AU"), b".snd", 8, b"\xff" * 4),
        "au that says 2 s": put(written("AU"), b".snd", 8, struct.pack(">I", 4 * RATE)),
        "flac that says 2 s": flac,
        "two wavs end to end": written("WAV", seconds=2) + written("WAV", seconds=4),
        "chained ogg": b"".join(written("OGG", "VORBIS", 2) for _ in range(3)),
    }  # fmt: skip


@pytest.mark.parametrize("kind", cut_short())
def test_whatever_the_header_says_the_data_is_read_to_its_end(tmp_path: Path, kind: str):
    path = tmp_path / "recording"
    path.write_bytes(cut_short()[kind])
    waveform, rate = audio.decode(str(path))
    assert waveform.shape[1] / rate == pytest.approx(SECONDS, abs=0.02)
    assert audio.probe(str(path))[0].duration_s == waveform.shape[1] / rate
    assert len(audio.decode_mixed_down(str(path), 0.999)[0].waveform) == waveform.shape[1]


def test_chunks_behind_the_samples_are_no_samples(tmp_path: Path):
    data = written("WAV")
    (tmp_path / "a").write_bytes(data + b"LIST" + struct.pack("<I", 10) + b"INFOabcdef")
    assert audio.decode(str(tmp_path / "a"))[0].shape[1] == SECONDS * RATE


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "AIFF", "W64"])
def test_seconds_that_a_header_promises_and_the_file_lacks_are_a_row(tmp_path: Path, kind: str):
    data = written(kind)
    (tmp_path / "a").write_bytes(data[: len(data) * 3 // 4])
    _, artifact = curated(tmp_path)
    (reject,) = artifact.rejects
    (row,) = artifact.table.to_pylist()
    assert reject.reason == "damaged"
    assert row["duration_s"] + reject.seconds == pytest.approx(SECONDS, abs=0.01)
    assert (reject.start_s, reject.end_s) == (
        pytest.approx(row["duration_s"], abs=0.001),
        pytest.approx(SECONDS, abs=0.01),
    )


def with_hole(hole_s: float) -> bytes:
    """Two seconds of tone, a hole, two seconds of tone."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        samples = (tone(4) * 32767).astype("<i2")
        for start in range(0, len(samples), 1000):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1000], "s16", "mono")
            frame.rate, frame.time_base = RATE, Fraction(1, RATE)
            frame.pts = start + (round(hole_s * RATE) if start >= 2 * RATE else 0)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return buffer.getvalue()


def test_a_hole_in_the_time_stamps_is_silence(tmp_path: Path):
    (tmp_path / "a").write_bytes(with_hole(10))
    waveform, rate = audio.decode(str(tmp_path / "a"))
    assert waveform.shape[1] / rate == pytest.approx(14, abs=0.07)
    assert not waveform[0, round(2.1 * rate) : round(11.9 * rate)].any()
    assert np.abs(waveform[0, round(12.1 * rate) :]).max() > 0.2


def test_audio_that_begins_after_the_video_has_the_time_of_the_file(tmp_path: Path):
    late_s = 5
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        video = container.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        sound = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for number in range(10 * (late_s + 2)):
            image = av.VideoFrame(32, 32, "yuv420p")
            image.pts = number
            container.mux(video.encode(image))
        container.mux(video.encode(None))
        samples = (tone(2) * 32767).astype("<i2")[None]
        frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
        frame.rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), late_s * RATE
        container.mux([*sound.encode(frame), *sound.encode(None)])
    waveform, rate = audio.decode(str(tmp_path / "a.mkv"))
    assert waveform.shape[1] / rate == pytest.approx(late_s + 2, abs=0.01)
    assert not waveform[0, : round((late_s - 0.1) * rate)].any()
    (row,), artifact = curated(tmp_path)
    assert row["duration_s"] == pytest.approx(late_s + 2, abs=0.01)
    assert not artifact.rejects


def test_a_broken_stamp_of_hours_is_no_silence(tmp_path: Path):
    (tmp_path / "a").write_bytes(with_hole(ffmpeg.MAX_HOLES_S * 60))
    assert audio.probe(str(tmp_path / "a"))[0].duration_s == pytest.approx(4, abs=0.07)


def streams(*sounds: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        tracks = [container.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in sounds]
        for track, sound in zip(tracks, sounds, strict=True):
            frame = av.AudioFrame.from_ndarray((sound * 32767).astype("<i2")[None], "s16", "mono")
            frame.rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            container.mux(track.encode(frame))
    return buffer.getvalue()


def curated(folder: Path, **config) -> tuple[list[dict], Artifact]:
    """The rows of the corpus table, and what normalize makes of the recordings."""
    stage, files = probe_stage(), find(str(folder))
    ((chunk, listing),) = chunks(files).items()
    probed = stage.process(chunk, {"listing": Artifact(listing)}, NoAttempts()).table
    corpus = arrange(files, probed, {}, IngestConfig(**config))
    recordings = pa.concat_tables(corpus.partitions.values())
    normalize = NormalizeStage("normalized", NormalizeConfig(), ["recordings"])
    made = normalize.process("part", {"recordings": Artifact(recordings)}, NoAttempts())
    return list(rows(corpus.table)), made


@pytest.mark.parametrize(
    ("sounds", "config", "taken"),
    [
        ((tone(2), tone(3)), {}, 2.0),
        ((np.zeros(2 * RATE), tone(3)), {}, 3.0),
        ((tone(2), tone(3)), {"stream": 1}, 3.0),
    ],
    ids=["first", "first with sound", "by config"],
)
def test_the_streams_that_are_not_taken_have_a_row(tmp_path, sounds, config, taken):
    (tmp_path / "a.mkv").write_bytes(streams(*sounds))
    files, artifact = curated(tmp_path, **config)
    assert artifact.table["duration_s"].to_pylist() == [taken]
    assert [(row["state"], row["reason"], row["duration_s"]) for row in files] == [
        ("recording", None, taken),
        ("rejected", "other_stream", 5.0 - taken),
    ]


def test_another_stream_or_other_channels_probe_nothing_anew(tmp_path: Path):
    (tmp_path / "a.mkv").write_bytes(streams(tone(2), tone(3)))
    stage, files = probe_stage(), find(str(tmp_path))
    ((chunk, listing),) = chunks(files).items()
    probed = stage.process(chunk, {"listing": Artifact(listing)}, NoAttempts()).table
    first, second = (
        arrange(files, probed, {}, IngestConfig(stream=stream)).partitions for stream in (0, 1)
    )
    assert list(first) != list(second)  # the name of a partition says which stream is heard


def test_spans_of_a_file_are_those_of_its_samples(tmp_path: Path):
    sound = speech(SECONDS)
    (tmp_path / "a.wav").write_bytes(wav(np.stack([sound, sound], axis=1), subtype="FLOAT"))
    spans = [audio.Span(0.5, 1.5), audio.Span(3.5, 5.0), audio.Span(1.0)]
    found = audio.decode_mixed_down(str(tmp_path / "a.wav"), 0.999, spans=spans)
    for span, mixed in zip(spans, found, strict=True):
        last = None if span.end_s is None else round(span.end_s * RATE)
        there = sound[round(span.start_s * RATE) : last]
        np.testing.assert_allclose(mixed.waveform, there - there.mean(), atol=1e-5)
    with pytest.raises(audio.NoChannelError, match="none with the number 2"):
        audio.decode_mixed_down(str(tmp_path / "a.wav"), 0.999, channel=2)


CALL = np.stack([speech(6, 1), speech(6, 2)])
TIME_CODE = np.sign(np.sin(np.arange(6 * RATE) * 0.7)).astype(np.float32) * 0.3


@pytest.mark.parametrize(
    ("channels", "config", "expected"),
    [
        (CALL, "auto", [0, 1]),
        (CALL, "mix", [None]),
        (CALL, "first", [0]),
        (CALL, "split", [0, 1]),
        (np.stack([CALL[0], np.roll(CALL[0], 30) * 0.5]), "auto", [None]),
        (np.stack([TIME_CODE, CALL[0]]), "auto", [1]),
        (np.stack([CALL[0], CALL[0] * 0]), "auto", [0]),
    ],
    ids=["call", "mixed", "first", "split", "two microphones", "time code", "dead channel"],
)  # fmt: skip
def test_channels_become_recordings_by_what_they_are(tmp_path, channels, config, expected):
    (tmp_path / "a.wav").write_bytes(wav(channels.T, subtype="FLOAT"))
    files, artifact = curated(tmp_path, channels=config)
    names = [row["recording_id"] for row in files]
    assert [row["state"] for row in files] == ["recording"] * len(expected)
    if len(expected) > 1:
        assert [name.rpartition("-")[2] for name in names] == [f"c{n}" for n in expected]
    for name, channel in zip(names, expected, strict=True):
        sound, _ = audio.decode_flac(artifact.files[f"{name}.flac"])
        if channel is not None:
            alone = audio.resample(channels[channel], RATE, 24000)
            assert np.corrcoef(np.abs(alone), np.abs(sound))[0, 1] > 0.9


def test_normalizing_takes_little_more_than_the_mono_samples(tmp_path: Path):
    """Ten minutes of eight channels: the worker's peak, against before it began."""
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 8000, 8, "PCM_16") as file:
        for minute in range(10):
            minute_long = np.random.default_rng(minute).normal(0, 0.1, (60 * 8000, 1))
            file.write(np.repeat(minute_long, 8, axis=1))
    code = f"""
import resource
from gpa.curation import audio
from gpa.curation.normalize import NormalizeConfig, normalize_mixed
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = used()
normalize_mixed(audio.decode_mixed_down({str(path)!r}, 0.999).pop(), NormalizeConfig(sample_rate=8000))
print(used() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    mono_bytes = 10 * 60 * 8000 * 4
    assert int(done.stdout) < 2.5 * mono_bytes  # blocks and libraries included; 8 channels are 8


def test_an_mp3_with_a_wrong_frame_count_is_read_to_its_end(tmp_path: Path):
    data = bytearray(encoded(tone(SECONDS), "mp3", "mp3", RATE))
    place = max(data.find(b"Xing"), data.find(b"Info"))
    data[place + 8 : place + 12] = struct.pack(">I", 20)
    (tmp_path / "a").write_bytes(data)
    assert audio.probe(str(tmp_path / "a"))[0].duration_s == pytest.approx(SECONDS, abs=0.15)
