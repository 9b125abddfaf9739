"""Volume and the reference clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gpa.tokenize.bicodec.audio import mel_bands, mel_spectrogram, normalize_volume, reference_clip
from gpa.tokenize.bicodec.config import read_config
from gpa.tokenize.bicodec.features import frame_count, standardize
from gpa.tokenize.weights import SMALL_BICODEC

waveforms = arrays(np.float64, st.integers(1, 300), elements=st.floats(-1, 1, width=32))


@given(waveforms)
def test_a_normalized_clip_never_clips(waveform):
    assert np.abs(normalize_volume(waveform)).max() <= 1


@given(waveforms)
def test_normalizing_scales_and_does_nothing_else(waveform):
    normalized = normalize_volume(waveform)
    loudest = np.abs(waveform).argmax()
    if waveform[loudest]:
        gain = normalized[loudest] / waveform[loudest]
        np.testing.assert_allclose(normalized, gain * waveform, rtol=1e-9, atol=1e-300)


def test_speech_is_brought_to_the_target_volume(speech):
    audible = np.sort(np.abs(normalize_volume(speech(32_000).astype(np.float64))))
    audible = audible[audible > 0.01]
    loud = audible[int(0.9 * len(audible)) : int(0.99 * len(audible))]
    assert loud.mean() == pytest.approx(0.2, rel=0.1)


@given(st.integers(1, 50), st.integers(1, 50))
def test_a_reference_clip_repeats_a_short_clip_and_cuts_a_long_one(length, samples):
    waveform = np.arange(length, dtype=np.float32)
    clip = reference_clip(waveform, samples)
    np.testing.assert_array_equal(clip, np.arange(samples) % length)


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16_000, 49)]
)
def test_frames_are_counted_as_the_convolutions_leave_them(bicodec, speech, samples, frames):
    assert frame_count(samples) == frames
    if frames:
        (tokens,) = bicodec.encode([speech(samples)], 16000)
        assert len(tokens.semantic_tokens) == frames


def test_a_standardized_clip_has_zero_mean_and_unit_variance(speech):
    standardized = standardize(speech(16_000) + 0.3)
    assert standardized.mean() == pytest.approx(0, abs=1e-6)
    assert standardized.var() == pytest.approx(1, abs=1e-3)


def test_mel_bands_that_were_first_asked_for_at_inference_serve_training_too():
    config = read_config(SMALL_BICODEC / "config.yaml").audio_tokenizer.mel_params
    mel_bands.cache_clear()
    with torch.inference_mode():
        mel_bands(config)
    waveforms = torch.randn(1, 4_000, requires_grad=True)
    mel_spectrogram(waveforms, config).sum().backward()
    assert waveforms.grad is not None
