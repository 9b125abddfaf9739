"""DNSMOS: the windows of the published evaluation, and scores that follow what is heard."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.models.quality.dnsmos import (
    DNSMOS,
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    DNSMOSConfig,
    windows,
)


@pytest.fixture(scope="module")
def scorer() -> DNSMOS:
    model = DNSMOS(DNSMOSConfig(hop_s=1))
    model.load()
    return model


@given(st.integers(1, 40 * SAMPLE_RATE), st.sampled_from([1.0, 4.5, 9.0]))
def test_every_clip_has_whole_windows(length, hop_s):
    clip = np.arange(length, dtype=np.float32)
    found = windows(clip, hop_s)
    assert all(window.shape == (WINDOW_SAMPLES,) for window in found)
    assert [window[0] for window in found] == [
        np.float32(n * round(hop_s * SAMPLE_RATE) % length) for n in range(len(found))
    ]


@pytest.mark.parametrize(
    ("seconds", "hop_s", "expected"),
    [(3, 1, 3), (3, 9, 1), (9.02, 1, 1), (10.5, 1, 1), (11, 1, 2), (30, 1, 21), (30, 9, 3)],
)
def test_number_of_windows(seconds, hop_s, expected):
    assert len(windows(np.zeros(round(seconds * SAMPLE_RATE), np.float32), hop_s)) == expected


def test_a_short_clip_is_doubled_until_it_fills_a_window():
    clip = np.arange(SAMPLE_RATE, dtype=np.float32)
    first = windows(clip, 1.0)[0]
    np.testing.assert_array_equal(first, np.resize(clip, WINDOW_SAMPLES))


def test_a_clip_without_samples_is_an_error():
    with pytest.raises(ValueError, match="without samples"):
        windows(np.zeros(0, np.float32), 1.0)


def test_noise_lowers_the_scores(scorer, shared_speech):
    clips = [
        soundfile.read(shared_speech / "edge" / name, dtype="float32")[0]
        for name in ("exact_duplicate.wav", "snr_0db.flac")
    ]
    clean, noisy = scorer.score(clips, 22050)
    assert clean.overall > noisy.overall + 0.5
    assert clean.background > noisy.background + 1
    for score in (clean, noisy):
        assert min(score.overall, score.signal, score.background) >= 1
        assert max(score.overall, score.signal, score.background) <= 5


def test_scores_are_those_of_the_reference_implementation(scorer, shared_speech):
    """Against the wheel's own code, where the librosa that it asks for is installed."""
    pytest.importorskip("librosa")
    from speechmos import dnsmos

    waveform, rate = soundfile.read(
        shared_speech / "en_libri" / "1688-142285-0003.flac", dtype="float32"
    )
    reference = dnsmos.run(waveform, sr=rate)
    (found,) = scorer.score([waveform], rate)
    assert found.overall == pytest.approx(reference["ovrl_mos"], abs=1e-4)
    assert found.signal == pytest.approx(reference["sig_mos"], abs=1e-4)
    assert found.background == pytest.approx(reference["bak_mos"], abs=1e-4)


def test_facts_name_licence_and_weights(scorer):
    facts = scorer.facts()
    assert facts.licence == "MIT"
    assert len(facts.weights[0].sha256) == 64
