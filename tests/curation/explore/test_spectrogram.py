"""The spectrogram is a PNG that a decoder reads, dark where it is loud."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from gpa.curation.explore.spectrogram import HEIGHT, spectrogram

RATE = 16000


def pixels(waveform: np.ndarray) -> np.ndarray:
    with av.open(io.BytesIO(spectrogram(waveform.astype(np.float32), RATE))) as image:
        return next(image.decode(video=0)).to_ndarray(format="gray")


@pytest.mark.parametrize("hertz", [500, 2000, 6000])
def test_a_tone_is_a_dark_line_at_its_height(hertz):
    grey = pixels(np.sin(2 * np.pi * hertz * np.arange(2 * RATE) / RATE))
    darkest = HEIGHT - 1 - grey.mean(axis=1).argmin()
    assert darkest / HEIGHT * RATE / 2 == pytest.approx(hertz, abs=150)
    assert grey.min() < 10 < 200 < np.median(grey)


@pytest.mark.parametrize("samples", [0, 1, 10, 400, 60 * RATE])
def test_silence_of_any_length_is_white(samples):
    assert pixels(np.zeros(samples)).min() == 255
