"""What odd or broken input gives: the right tokens, or an error that says what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from gpa.tokenize.clips import ClipError


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        (np.zeros(0, np.float32), "it is empty"),
        (np.array([0.1, np.nan] * 500), "NaN or infinite"),
        (np.zeros(16000, np.int16), "its samples are int16, hand in floating point"),
        (np.zeros((1000, 2)), "more channels than samples, transpose it"),
    ],
)
def test_a_clip_without_tokens_is_named_with_the_reason(glm, clip, reason):
    with pytest.raises(ClipError, match=f"Clip 0 can't be tokenized: .*{reason}"):
        glm.encode([clip], 16000)


def test_a_clip_of_which_nothing_is_left_at_16_khz_is_named(glm):
    with pytest.raises(ClipError, match="nothing of it is left at 16 kHz"):
        glm.encode([np.zeros(1)], 192_000)


def test_silence_and_a_clip_of_399_samples_have_tokens(glm, speech):
    silence, short = glm.encode([np.zeros(16000, np.float32), speech(399)], 16000)
    assert silence.shape == (13,)
    assert short.shape == (1,)


@pytest.mark.parametrize("sample_rate", [8000, 44100, 192_000])
def test_any_sample_rate_has_the_tokens_of_the_clip_at_16_khz(glm, speech, sample_rate):
    clip = soxr.resample(speech(32_000).astype(np.float64), 16000, sample_rate, quality="VHQ")
    resampled = soxr.resample(clip, sample_rate, 16000, quality="VHQ")
    (tokens,) = glm.encode([clip], sample_rate)
    np.testing.assert_array_equal(tokens, glm.encode([resampled], 16000)[0])
    assert len(tokens) == 25


def test_of_several_channels_the_mean_is_heard(glm, speech):
    first, second = speech(16_000, 1), speech(16_000, 2)
    stereo, mono = glm.encode([np.stack([first, second]), (first + second) / 2], 16000)
    np.testing.assert_array_equal(stereo, mono)
