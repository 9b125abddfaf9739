"""What every denoiser promises, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gpa.curation.audio import resample
from gpa.curation.models.protocols import Denoiser
from tests.curation.models.asr.samples import sample_clip
from tests.curation.models.memory import left_behind

RATE = 24000


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Two seconds of real speech, which begin in a word."""
    return resample(sample_clip("en/counting"), 16000, RATE)[RATE // 2 :][: 2 * RATE]


def assert_fits(clean: np.ndarray, noisy: np.ndarray) -> None:
    """As long as what went in, and numbers throughout."""
    assert clean.shape == noisy.shape
    assert clean.dtype == np.float32
    assert np.all(np.isfinite(clean))


@pytest.mark.parametrize("samples", [0, 1, 479, 480, 481, 4800, 12345])
@pytest.mark.parametrize("rate", [16000, 24000, 48000])
def test_length_is_kept_down_to_nothing(denoiser: Denoiser, speech, rate: int, samples: int):
    noisy = speech[:samples]
    assert_fits(denoiser.denoise(noisy, rate), noisy)


def test_almost_half_a_minute_is_kept_to_its_end(denoiser: Denoiser, speech):
    noisy = np.resize(speech, round(29.9 * RATE))
    clean = denoiser.denoise(noisy, RATE)
    assert_fits(clean, noisy)
    assert clean[-RATE // 2 :].std() > 0.2 * noisy[-RATE // 2 :].std()


def test_digital_silence_stays_silent(denoiser: Denoiser):
    noisy = np.zeros(RATE, np.float32)
    clean = denoiser.denoise(noisy, RATE)
    assert_fits(clean, noisy)
    assert np.abs(clean).max() < 1 / 32768


def test_speech_stays_where_it_was(denoiser: Denoiser, speech):
    clean = denoiser.denoise(speech, RATE)
    lags = np.arange(-480, 481)
    body = speech[480:-480]
    agreement = [body @ clean[480 + lag : 480 + lag + len(body)] for lag in lags]
    assert lags[int(np.argmax(agreement))] == 0


def test_a_recording_does_not_depend_on_the_one_before(denoiser: Denoiser, speech):
    first = denoiser.denoise(speech[:RATE], RATE)
    denoiser.denoise(-0.5 * speech[RATE:], RATE)
    np.testing.assert_array_equal(denoiser.denoise(speech[:RATE], RATE), first)


def test_what_goes_in_is_not_changed(denoiser: Denoiser, speech):
    noisy = speech[:RATE].copy()
    denoiser.denoise(noisy, RATE)
    np.testing.assert_array_equal(noisy, speech[:RATE])


def test_facts_name_weights_by_hash(denoiser: Denoiser):
    facts = denoiser.facts()
    assert facts.weights
    assert all(len(weights.sha256) == 64 for weights in facts.weights)
    assert facts.licence
    assert facts.memory_mb


def test_nothing_stays_in_memory_when_its_adapter_is_gone(make: Callable[[], Denoiser], speech):
    def used() -> Denoiser:
        adapter = make()
        adapter.denoise(speech[:RATE], RATE)
        return adapter

    assert left_behind(used) == []
