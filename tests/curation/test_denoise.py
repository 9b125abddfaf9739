"""The denoise stage: one file in, one file out, with the same clock."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from gpa.curation import audio
from gpa.curation.denoise import DenoiseStage, residual_db
from gpa.curation.models.denoise.deepfilternet import DeepFilterNetConfig
from gpa.curation.tables import DENOISED, NORMALIZED
from gpa.runtime.stage import Artifact, NoAttempts

RATE = 24000


def normalized(**waveforms: np.ndarray) -> dict[str, Artifact]:
    table = [
        {
            "recording_id": name, "sample_rate": RATE, "samples": len(waveform),
            "duration_s": len(waveform) / RATE, "peak_in": 1.0, "dc_offset": 0.0,
            "clipped_share": 0.0, "repaired_samples": 0, "max_gain_reduction_db": 0.0,
        }
        for name, waveform in waveforms.items()
    ]  # fmt: skip
    files = {f"{name}.flac": audio.encode_flac(w, RATE) for name, w in waveforms.items()}
    return {"normalized": Artifact(pa.Table.from_pylist(table, schema=NORMALIZED), files)}


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    count = round(seconds * RATE)
    return np.random.default_rng(seed).normal(0, 0.1, count).astype(np.float32)


@pytest.fixture(scope="module")
def stage() -> DenoiseStage:
    made = DenoiseStage("denoised", DeepFilterNetConfig(), ["normalized"])
    made.load()
    return made


def test_each_recording_keeps_its_length_and_rate(stage):
    inputs = normalized(a=noise(2), b=noise(1.2345, seed=1))
    artifact = stage.process("part-00000", inputs, NoAttempts())
    assert artifact.table.schema == DENOISED
    assert artifact.table["recording_id"].to_pylist() == ["a", "b"]
    assert artifact.audio_s == pytest.approx(2 + 1.2345, abs=1e-4)
    for name, data in artifact.files.items():
        clean, rate = audio.decode_flac(data)
        noisy, _ = audio.decode_flac(inputs["normalized"].files[name])
        assert (clean.shape, rate) == (noisy.shape, RATE)
        # Noise alone: at most 12 dB of it go, so a quarter of the amplitude stays.
        assert 0.2 < clean[RATE // 2 :].std() / noisy[RATE // 2 :].std() < 0.5


def test_the_same_input_gives_the_same_bytes_whatever_came_before(stage):
    alone = stage.process("part-00000", normalized(b=noise(1, seed=1)), NoAttempts())
    after = stage.process("part-00000", normalized(a=noise(1), b=noise(1, seed=1)), NoAttempts())
    assert alone.files["b.flac"] == after.files["b.flac"]


def test_a_broken_or_quarantined_recording_is_a_reject_and_the_others_go_on(stage):
    class Quarantined(NoAttempts):
        quarantined = frozenset({"a"})

    inputs = normalized(a=noise(1), b=noise(1), c=noise(1))
    inputs["normalized"].files["b.flac"] = b"not FLAC"
    artifact = stage.process("part-00000", inputs, Quarantined())
    assert list(artifact.files) == ["c.flac"]
    booked = [(reject.recording_id, reject.reason, reject.seconds) for reject in artifact.rejects]
    assert booked == [("a", "quarantined", 1.0), ("b", "failed", 1.0)]
    assert "LibsndfileError" in artifact.rejects[1].detail


def test_the_fingerprint_follows_the_limit_and_the_weights(stage):
    def fingerprint(limit_db: float) -> str:
        other = DenoiseStage(
            "denoised", DeepFilterNetConfig(attenuation_limit_db=limit_db), ["normalized"]
        )
        return other.fingerprint({"normalized": "0"})

    assert fingerprint(12) == stage.fingerprint({"normalized": "0"}) != fingerprint(20)
    assert stage.models()["deepfilternet"].weights[0].sha256 in stage.model_identity()


def test_residual_is_the_level_of_what_was_removed():
    waveform = noise(1)
    assert residual_db(waveform, np.float32(0.9) * waveform) == pytest.approx(-20, abs=0.01)
    assert residual_db(waveform, waveform) == -200
    assert residual_db(np.zeros(10, np.float32), np.zeros(10, np.float32)) == -200
