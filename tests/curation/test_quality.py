"""The quality stage: evidence for both versions of an utterance, and the choice between them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation import audio
from gpa.curation.models.protocols import MOS
from gpa.curation.normalize import NormalizeConfig, normalize
from gpa.curation.quality import (
    Measures,
    QualityConfig,
    QualityStage,
    bandwidth_hz,
    clipped_share,
    kept_version,
    measure,
)
from gpa.curation.tables import MEASURES, QUALITY, UTTERANCES
from gpa.runtime.stage import Artifact, NoAttempts
from tests.curation.curated_out import SPOKEN, spoken

scores = st.floats(1, 5).map(lambda overall: MOS(overall, overall, overall))


class TestChoice:
    @given(scores, scores, st.floats(0, 2))
    def test_always_and_never_ignore_the_scores(self, normalized, denoised, min_gain):
        assert kept_version(normalized, denoised, "always", min_gain) == "denoised"
        assert kept_version(normalized, denoised, "never", min_gain) == "normalized"

    @given(scores, scores, st.floats(0, 2))
    def test_where_better_asks_for_the_gain(self, normalized, denoised, min_gain):
        gained = denoised.overall - normalized.overall >= min_gain
        expected = "denoised" if gained else "normalized"
        assert kept_version(normalized, denoised, "where_better", min_gain) == expected

    @pytest.mark.parametrize("keep", ["always", "never", "where_better"])
    def test_without_a_denoiser_the_normalised_version_is_kept(self, keep):
        assert kept_version(MOS(1, 1, 1), None, keep, 0) == "normalized"


def heard(waveform: np.ndarray, rate: int) -> Measures:
    """Measured after all that a recording goes through before: rate, compression, peak, 16 bits."""
    normalized = normalize(waveform[None], rate, NormalizeConfig()).waveform
    return measure(*audio.decode_flac(audio.encode_flac(normalized, 24000)))


@pytest.mark.parametrize("name", SPOKEN)
class TestMeasuresOfSpeech:
    @pytest.mark.parametrize("sampled_at", [6000, 8000, 11025, 16000])
    def test_bandwidth_is_that_of_the_rate_it_was_once_sampled_at(self, name, sampled_at):
        waveform, rate = spoken(name)
        narrow = audio.resample(audio.resample(waveform, rate, sampled_at), sampled_at, 48000)
        assert 0.9 * sampled_at / 2 <= heard(narrow, 48000).bandwidth_hz <= sampled_at / 2 + 100

    def test_clipping_is_seen_after_gain_compression_and_resampling(self, name):
        waveform, rate = spoken(name)
        waveform = waveform / np.abs(waveform).max()
        shares = [
            heard(0.1 * np.clip(waveform, -at, at), rate).clipped_share for at in (1, 0.5, 0.25)
        ]
        assert shares[0] == 0
        assert 0.001 < shares[1] < shares[2]

    def test_noise_mixed_in_raises_the_floor_by_as_much_as_it_is_louder(self, name):
        waveform, rate = spoken(name)
        noise = np.random.default_rng(0).normal(0, 1, len(waveform)).astype(np.float32)
        speech_rms = np.sqrt(np.mean(waveform**2))
        mixed = [heard(waveform + noise * speech_rms * 10 ** (-snr / 20), rate) for snr in (30, 10)]
        assert mixed[1].noise_floor_dbfs - mixed[0].noise_floor_dbfs == pytest.approx(20, abs=3)
        assert heard(waveform, rate).noise_floor_dbfs < mixed[0].noise_floor_dbfs


class TestMeasures:
    @given(st.integers(0, 2**32 - 1), st.floats(0.01, 1.0), st.sampled_from([8000, 24000, 48000]))
    def test_all_but_the_levels_ignore_the_gain(self, seed, gain, rate):
        noise = np.random.default_rng(seed).normal(0, 0.2, rate // 4).astype(np.float32)
        quiet = noise * np.float32(gain)
        assert bandwidth_hz(noise, rate) == bandwidth_hz(quiet, rate) == rate / 2
        assert clipped_share(noise) == pytest.approx(clipped_share(quiet), abs=1e-3)
        levels = measure(noise, rate), measure(quiet, rate)
        gain_db = 20 * np.log10(gain)
        assert levels[1].level_dbfs - levels[0].level_dbfs == pytest.approx(gain_db, abs=0.1)

    def test_pure_tones_are_not_clipped_and_end_where_they_are(self):
        time = np.arange(24000) / 24000
        for hertz in (50, 220, 1000, 5000):
            tone = np.sin(2 * np.pi * hertz * time).astype(np.float32)
            assert clipped_share(tone) == 0
            assert hertz <= bandwidth_hz(tone, 24000) <= hertz + 400

    def test_silence_is_measured_and_what_is_shorter_than_a_frame_is_not(self):
        silent = measure(np.zeros(2400, np.float32), 24000)
        assert silent == Measures(0.0, 0.0, -100.0, -100.0)
        with pytest.raises(ValueError, match="too few"):
            measure(np.zeros(10, np.float32), 24000)


def utterances(files: dict[str, bytes], *utterance_ids: str) -> dict[str, Artifact]:
    table = [
        {
            "utterance_id": utterance_id, "recording_id": utterance_id.split("-")[0],
            "start_s": 1.0, "end_s": 3.0, "duration_s": 2.0, "sample_rate": 22050, "speaker": "S0",
            "speaker_confidence": 1.0, "speaker_embedding": [], "speech_s": 2.0, "snr_db": 20.0,
            "head_db": -30.0, "tail_db": -30.0, "language": None,
        }
        for utterance_id in utterance_ids
    ]  # fmt: skip
    return {"utterances": Artifact(pa.Table.from_pylist(table, schema=UTTERANCES), files)}


def run(inputs: dict[str, Artifact], attempts=None, **config) -> Artifact:
    stage = QualityStage("quality", QualityConfig(**config), ["utterances"])
    stage.load()
    return stage.process("part-00000", inputs, attempts or NoAttempts())


@pytest.fixture(scope="module")
def clean_and_noisy(shared_speech) -> tuple[bytes, bytes]:
    return tuple(
        audio.encode_flac(soundfile.read(shared_speech / "edge" / name, dtype="float32")[0], 22050)
        for name in ("exact_duplicate.wav", "snr_0db.flac")
    )


def test_the_better_version_of_each_utterance_is_kept(clean_and_noisy):
    clean, noisy = clean_and_noisy
    files = {
        "a-1.normalized.flac": noisy, "a-1.denoised.flac": clean,
        "a-2.normalized.flac": clean, "a-2.denoised.flac": noisy,
        "b-1.normalized.flac": clean,
    }  # fmt: skip
    artifact = run(utterances(files, "a-1", "a-2", "b-1"))
    assert artifact.table.schema == QUALITY
    assert artifact.table["kept_version"].to_pylist() == ["denoised", "normalized", "normalized"]
    first, second, third = artifact.table.to_pylist()
    assert first["normalized_mos"] == second["denoised_mos"]
    assert first["denoised_mos"] == second["normalized_mos"] == third["normalized_mos"]
    assert third["denoised_mos"] is None
    # Of what was normalised, whichever version is kept.
    assert [second[name] for name in MEASURES] == [third[name] for name in MEASURES]
    assert first["noise_floor_dbfs"] > second["noise_floor_dbfs"] + 10
    assert not artifact.rejects
    assert artifact.audio_s == 6.0


def test_what_fails_or_is_quarantined_has_no_scores_and_goes_on_as_it_was():
    class Quarantined(NoAttempts):
        quarantined = frozenset({"a"})

    noise = np.random.default_rng(0).normal(0, 0.1, 44100).astype(np.float32)
    files = {
        "b-1.normalized.flac": b"not FLAC",
        "b-2.normalized.flac": audio.encode_flac(noise, 22050),
    }
    artifact = run(utterances(files, "a-1", "a-2", "b-1", "b-2"), Quarantined())
    assert artifact.rejects == ()
    found = {row["utterance_id"]: row for row in artifact.table.to_pylist()}
    assert {key: row["kept_version"] for key, row in found.items()} == dict.fromkeys(
        ("a-1", "a-2", "b-1", "b-2"), "normalized"
    )
    assert "quarantined" in found["a-1"]["error"]
    assert "LibsndfileError" in found["b-1"]["error"]
    assert found["a-1"]["bandwidth_hz"] is found["b-1"]["clipped_share"] is None
    assert found["b-2"]["error"] is None
    assert found["b-2"]["normalized_mos"] is not None
