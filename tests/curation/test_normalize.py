"""Normalisation: one rate, no DC, a compressed range, one peak, and a reason for every reject."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gpa.curation import audio
from gpa.curation.normalize import (
    CompressorConfig,
    NormalizeConfig,
    NormalizeStage,
    Unusable,
    active_level_db,
    compress,
    normalize,
    normalize_peak,
)
from gpa.curation.tables import NORMALIZED, RECORDINGS
from gpa.runtime.stage import Artifact, NoAttempts

CONFIG = NormalizeConfig()
PEAK = np.float32(0.6)
RATE = CONFIG.sample_rate

samples = hnp.arrays(
    np.float32, st.integers(1, 4000), elements=st.floats(-1, 1, width=32, allow_subnormal=False)
)


def noise(seconds: float, level: float = 0.1, seed: int = 0) -> np.ndarray:
    count = round(seconds * RATE)
    return np.random.default_rng(seed).normal(0, level, count).astype(np.float32)


def decibels(gain: float) -> float:
    return 20 * np.log10(gain)


class TestPeak:
    @given(samples)
    def test_the_peak_of_any_sound_is_exactly_the_configured_one(self, waveform):
        assume(np.any(waveform))
        assert np.max(np.abs(normalize_peak(waveform, 0.6))) == PEAK

    @given(samples, st.floats(1e-6, 1e3))
    def test_the_level_of_the_input_does_not_matter(self, waveform, gain):
        assume(np.max(np.abs(waveform)) > 1e-6)
        louder = normalize_peak((waveform * np.float32(gain)).astype(np.float32))
        np.testing.assert_allclose(louder, normalize_peak(waveform), atol=1e-6)

    @pytest.mark.parametrize("length", [0, 1, 100])
    def test_silence_stays_silence(self, length):
        zeros = np.zeros(length, np.float32)
        np.testing.assert_array_equal(normalize_peak(zeros), zeros)


class TestCompressor:
    def test_steady_sound_is_reduced_by_the_static_curve(self):
        """20 dB above the threshold at ratio 4 leaves 5 dB: 15 dB of reduction."""
        config = CompressorConfig(threshold_db=-20, ratio=4)
        steady = np.full(RATE, 0.5, np.float32)
        compressed, reduction_db = compress(steady, RATE, config)
        assert reduction_db == pytest.approx(15, abs=0.01)
        assert decibels(compressed[-1] / 0.5) == pytest.approx(-15, abs=0.05)

    def test_a_loud_passage_comes_closer_to_a_quiet_one(self):
        quiet, loud = noise(2, 0.03), noise(2, 0.3, seed=1)
        config = CompressorConfig(threshold_db=-10, ratio=3)
        compressed, _ = compress(np.concatenate([quiet, loud]), RATE, config)
        before = decibels(loud.std() / quiet.std())
        after = decibels(compressed[3 * RATE :].std() / compressed[:RATE].std())
        assert after == pytest.approx(before - 10 * (1 - 1 / 3), abs=1)
        np.testing.assert_allclose(compressed[: RATE // 2], quiet[: RATE // 2], rtol=1e-4)

    def test_attack_is_fast_and_release_is_slow(self):
        config = CompressorConfig(threshold_db=-6, ratio=100, attack_ms=5, release_ms=200)
        waveform = np.concatenate(
            [np.full(n * RATE // 10, v) for n, v in [(5, 0.1), (5, 1), (5, 0.1)]]
        )
        waveform = waveform.astype(np.float32)
        gain_db = 20 * np.log10(compress(waveform, RATE, config)[0] / waveform)
        deepest = gain_db.min()
        onset, end = RATE // 2, RATE
        assert gain_db[onset - RATE // 100] == 0
        # After three time constants of 5 ms most of it is there; 50 ms after the end most still is.
        assert gain_db[onset + 15 * RATE // 1000] < 0.9 * deepest
        assert gain_db[end + 50 * RATE // 1000] < 0.6 * deepest
        assert gain_db[end + 450 * RATE // 1000] > 0.2 * deepest

    @given(samples)
    def test_gain_is_never_raised_and_signs_stay(self, waveform):
        assume(np.any(waveform))
        compressed, reduction_db = compress(waveform, RATE, CONFIG.compressor)
        assert compressed.shape == waveform.shape
        assert reduction_db >= 0
        assert np.all(np.abs(compressed) <= np.abs(waveform) * (1 + 1e-6))
        assert np.all(compressed * waveform >= 0)

    @given(samples)
    def test_a_ratio_of_one_changes_nothing(self, waveform):
        assume(np.any(waveform))
        compressed, reduction_db = compress(waveform, RATE, CompressorConfig(ratio=1))
        assert reduction_db == 0
        np.testing.assert_array_equal(compressed, waveform)

    def test_pauses_do_not_lower_the_active_level(self):
        speech = np.full(100, -20.0)
        pauses = np.full(900, -90.0)
        assert active_level_db(speech) == pytest.approx(-20)
        assert active_level_db(np.concatenate([speech, pauses])) == pytest.approx(-20)


class TestRecording:
    @given(st.integers(2400, 20000), st.sampled_from([8000, 16000, 22050, 44100, 96000]),
           st.integers(1, 3), st.integers(0, 2**32 - 1))  # fmt: skip
    def test_one_rate_one_peak_and_the_same_duration(self, length, rate, channels, seed):
        assume(length / rate >= CONFIG.min_duration_s)
        waveform = np.random.default_rng(seed).normal(0, 0.1, (channels, length)).astype("f4")
        result = normalize(waveform, rate, CONFIG).waveform
        assert abs(len(result) - length * RATE / rate) <= 1
        assert np.max(np.abs(result)) == PEAK
        assert np.all(np.isfinite(result))

    @pytest.mark.parametrize("gain_db", [-50, -20, 20])
    def test_a_recording_at_another_level_gives_the_same_result(self, gain_db):
        waveform = np.concatenate([noise(1, 0.02), noise(1, 0.3)])[None]
        scaled = (waveform * 10 ** (gain_db / 20)).astype(np.float32)
        np.testing.assert_allclose(
            normalize(scaled, RATE, CONFIG).waveform,
            normalize(waveform, RATE, CONFIG).waveform,
            atol=1e-4,
        )

    def test_dc_is_removed_and_reported(self):
        result = normalize(noise(1)[None] + np.float32(0.35), RATE, CONFIG)
        assert result.dc_offset == pytest.approx(0.35, abs=0.01)
        assert abs(result.waveform.mean()) < 0.005

    def test_broken_samples_are_repaired_and_counted(self):
        waveform = noise(1)[None].copy()
        waveform[0, ::1000] = np.nan
        waveform[0, 1::1000] = np.inf
        result = normalize(waveform, RATE, CONFIG)
        assert result.repaired_samples == 48
        assert np.all(np.isfinite(result.waveform))

    def test_clipping_is_reported(self):
        clipped = np.clip(noise(1, 1.0), -1, 1)[None]
        assert normalize(clipped, RATE, CONFIG).clipped_share == pytest.approx(0.317, abs=0.02)
        assert normalize(clipped / 2, RATE, CONFIG).clipped_share == 0

    def test_opposite_phases_with_different_offsets_are_no_silence(self):
        speech = noise(1)
        result = normalize(np.stack([speech + 0.1, -speech + 0.3]), RATE, CONFIG)
        expected = normalize(speech[None], RATE, CONFIG)
        np.testing.assert_allclose(result.waveform, expected.waveform, atol=1e-3)

    @pytest.mark.parametrize(
        ("waveform", "reason"),
        [
            (np.zeros((1, 0)), "empty"),
            (np.full((1, 1), 0.5), "too_short"),
            (noise(0.05)[None], "too_short"),
            (np.zeros((2, RATE)), "silent"),
            (np.full((1, RATE), 0.35), "silent"),
            (np.full((1, RATE), np.nan), "silent"),
            (noise(1, 1e-6)[None], "silent"),
        ],
    )
    def test_what_holds_no_sound_has_its_reason(self, waveform, reason):
        with pytest.raises(Unusable) as raised:
            normalize(waveform.astype(np.float32), RATE, CONFIG)
        assert raised.value.reason == reason
        assert np.isfinite(raised.value.value)


def recordings(*uris: str, duration_s: float = 9.0) -> dict[str, Artifact]:
    table = [
        {
            "recording_id": f"r{number}", "path": uri, "uri": uri, "sha256": "", "bytes": 0,
            "start_s": 0.0, "stream": 0, "duration_s": duration_s, "sample_rate": RATE, "channels": 1, "codec": "", "given": "{}",
        }
        for number, uri in enumerate(uris)
    ]  # fmt: skip
    return {"recordings": Artifact(pa.Table.from_pylist(table, schema=RECORDINGS))}


def run(inputs: dict[str, Artifact], attempts=None) -> Artifact:
    stage = NormalizeStage("normalized", CONFIG, ["recordings"])
    stage.load()
    return stage.process("part-00000", inputs, attempts or NoAttempts())


class TestStage:
    def test_each_recording_has_a_row_and_a_file_or_a_reject(self, tmp_path):
        soundfile.write(tmp_path / "good.wav", noise(2), RATE)
        soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
        (tmp_path / "text.wav").write_text("words")
        names = ("good.wav", "silent.wav", "text.wav")
        artifact = run(recordings(*(str(tmp_path / name) for name in names)))
        assert artifact.table.schema == NORMALIZED
        assert artifact.table["recording_id"].to_pylist() == ["r0"]
        assert artifact.table["duration_s"].to_pylist() == [2.0]
        waveform, rate = audio.decode_flac(artifact.files["r0.flac"])
        assert (len(waveform), rate) == (2 * RATE, RATE)
        assert np.max(np.abs(waveform)) == pytest.approx(0.6, abs=1 / 32768)
        # A silent recording counts as long as it is; an unreadable one as long as it said it was.
        booked = [
            (reject.recording_id, reject.reason, reject.seconds) for reject in artifact.rejects
        ]
        assert booked == [("r1", "silent", 1.0), ("r2", "unreadable", 9.0)]

    def test_the_same_recording_gives_the_same_bytes(self, tmp_path):
        soundfile.write(tmp_path / "a.wav", noise(2), 44100)
        first, second = (run(recordings(str(tmp_path / "a.wav"))) for _ in range(2))
        assert first.files == second.files
        assert first.table == second.table

    def test_a_quarantined_recording_is_not_touched(self):
        class Quarantined(NoAttempts):
            quarantined = frozenset({"r0"})

        artifact = run(recordings("/no/such/file.wav"), Quarantined())
        assert [(r.reason, r.seconds) for r in artifact.rejects] == [("quarantined", 9.0)]

    def test_every_edge_case_has_the_outcome_that_its_note_expects(self, shared_speech: Path):
        paths = sorted((shared_speech / "edge").iterdir())
        artifact = run(recordings(*map(str, paths)))
        names = {f"r{number}": path.name for number, path in enumerate(paths)}
        rejected = {names[reject.recording_id]: reject.reason for reject in artifact.rejects}
        assert rejected == {
            "corrupt_middle.mp3": "damaged",
            "header_lies.wav": "damaged",
            "header_only.wav": "empty",
            "one_sample.wav": "too_short",
            "short_50ms.wav": "too_short",
            "silence_5s.wav": "silent",
            "text_named.wav": "unreadable",
            "truncated.mp3": "damaged",
            "zero_bytes.mp3": "unreadable",
            "zero_bytes.wav": "unreadable",
        }
        kept = {names[row["recording_id"]]: row for row in artifact.table.to_pylist()}
        assert kept.keys() | rejected.keys() == set(names.values())
        for data in artifact.files.values():
            waveform, _ = audio.decode_flac(data)
            assert np.all(np.isfinite(waveform))
            assert np.max(np.abs(waveform)) == pytest.approx(0.6, abs=1 / 32768)

        assert kept["truncated.mp3"]["duration_s"] == pytest.approx(3.43, abs=0.05)
        assert 3.5 < kept["corrupt_middle.mp3"]["duration_s"] < 8.1
        assert kept["header_lies.wav"]["duration_s"] == pytest.approx(4.866, abs=0.001)
        assert kept["mp3_named.wav"]["duration_s"] == pytest.approx(8.048, abs=0.001)
        assert kept["aac_44k1.m4a"]["duration_s"] == pytest.approx(8.127, abs=0.001)
        assert kept["opus_in_webm.webm"]["duration_s"] == pytest.approx(5.06, abs=0.01)
        assert kept["nan_inf_float.wav"]["repaired_samples"] == 40
        assert kept["dc_offset.wav"]["dc_offset"] == pytest.approx(0.35, abs=0.01)
        assert kept["clipped.wav"]["clipped_share"] > 0.1
        assert kept["stereo_phase_inverted.flac"]["peak_in"] > 0.05
        assert sum(row["clipped_share"] > 0.01 for row in kept.values()) == 1

        def samples_of(name: str) -> np.ndarray:
            (recording_id,) = [key for key, value in names.items() if value == name]
            return audio.decode_flac(artifact.files[f"{recording_id}.flac"])[0]

        def similarity(a: np.ndarray, b: np.ndarray) -> float:
            length = min(len(a), len(b))
            return float(np.corrcoef(a[:length], b[:length])[0, 1])

        # Level, a dead channel and the phase leave no trace; the odd name has the same samples.
        original = samples_of("exact_duplicate.wav")
        assert similarity(samples_of("空 格 ñ – (copy) 1.flac"), original) == pytest.approx(1)
        assert similarity(samples_of("stereo_48k_dead_right.flac"), original) > 0.999
        assert similarity(samples_of("very_quiet.flac"), original) > 0.99
        assert (
            similarity(samples_of("stereo_phase_inverted.flac"), samples_of("pcm24_44k1.wav"))
            > 0.99
        )
