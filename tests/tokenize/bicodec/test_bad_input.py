"""What odd or broken input gives: the right tokens, or an error that says what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from gpa.runtime.errors import UserError
from gpa.tokenize.clips import ClipError


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        (np.zeros(0, np.float32), "it is empty"),
        (np.zeros((2, 0), np.float32), "it is empty"),
        (np.zeros(399, np.float32), "it has 399 samples at 16 kHz and one token takes 400"),
        (np.array([0.1, np.nan] * 500), "NaN or infinite"),
        (np.array([0.1, -np.inf] * 500), "NaN or infinite"),
        (np.zeros(16000, np.int16), "its samples are int16, hand in floating point"),
        (np.zeros((2, 2, 1000)), "hand in \\(samples,\\) or \\(channels, samples\\)"),
        (np.zeros((1000, 2)), "more channels than samples, transpose it"),
        (np.zeros(16000 * 121, np.float32), "it lasts 121.0 s and max_batch_s is 120"),
    ],
)
def test_a_clip_without_tokens_is_named_with_the_reason(bicodec, clip, reason):
    fine = np.zeros(16000, np.float32)
    with pytest.raises(ClipError, match=f"Clip 1 can't be tokenized: .*{reason}") as raised:
        bicodec.encode([fine, clip], 16000)
    assert raised.value.clip == 1


def test_a_sample_rate_that_is_none_is_refused(bicodec):
    with pytest.raises(ClipError, match="its sample rate is 0 Hz"):
        bicodec.encode([np.zeros(1000)], 0)


def test_silence_has_tokens(bicodec):
    (tokens,) = bicodec.encode([np.zeros(16000, np.float32)], 16000)
    assert tokens.semantic_tokens.shape == (49,)
    assert tokens.global_tokens.shape == (32,)


def test_the_shortest_clip_is_one_token(bicodec, speech):
    (tokens,) = bicodec.encode([speech(400)], 16000)
    assert tokens.semantic_tokens.shape == (1,)


@pytest.mark.parametrize("sample_rate", [8000, 24000, 44100, 192_000])
def test_any_sample_rate_has_the_tokens_of_the_clip_at_16_khz(bicodec, speech, sample_rate):
    clip = soxr.resample(speech(32_000).astype(np.float64), 16000, sample_rate, quality="VHQ")
    resampled = soxr.resample(clip, sample_rate, 16000, quality="VHQ")
    (tokens,) = bicodec.encode([clip], sample_rate)
    (expected,) = bicodec.encode([resampled], 16000)
    np.testing.assert_array_equal(tokens.semantic_tokens, expected.semantic_tokens)
    assert len(tokens.semantic_tokens) == 99


def test_of_several_channels_the_first_is_heard(bicodec, speech):
    first, second = speech(16_000, 1), speech(16_000, 2)
    stereo, mono = bicodec.encode([np.stack([first, second]), first], 16000)
    np.testing.assert_array_equal(stereo.semantic_tokens, mono.semantic_tokens)
    np.testing.assert_array_equal(stereo.global_tokens, mono.global_tokens)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_any_floating_type_is_heard(bicodec, speech, dtype):
    clip = speech(16_000).astype(dtype)
    other, single = bicodec.encode([clip, clip.astype(np.float32)], 16000)
    np.testing.assert_array_equal(other.semantic_tokens, single.semantic_tokens)


@pytest.mark.parametrize(
    ("semantic", "speaker", "reason"),
    [
        ([8192], np.zeros(32, int), "semantic tokens range from 8192 to 8192"),
        ([-1], np.zeros(32, int), "semantic tokens range from -1"),
        ([0.5], np.zeros(32, int), "takes one row of integers"),
        ([[1, 2]], np.zeros(32, int), "takes one row of integers"),
        ([1], np.full(32, 4096), "global tokens range from 4096"),
        ([1], np.zeros(31, int), "32 global tokens, not 31"),
    ],
)
def test_tokens_that_are_none_are_refused(bicodec, semantic, speaker, reason):
    with pytest.raises(UserError, match=reason):
        bicodec.decode(semantic, speaker)


def test_no_tokens_are_no_samples(bicodec):
    waveform = bicodec.decode([], np.zeros(32, int))
    assert waveform.shape == (0,)
    assert waveform.dtype == np.float32
