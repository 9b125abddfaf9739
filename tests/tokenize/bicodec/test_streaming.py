"""The streaming decoder emits each sample once, and those of the offline decode."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec import StreamingDecoder

SPEAKER = np.arange(32) * 100


@settings(max_examples=15)
@given(st.integers(0, 220), st.lists(st.integers(0, 220), max_size=6))
def test_pieces_of_any_size_add_up_to_the_offline_decode(bicodec, length, cuts):
    tokens = np.random.default_rng(length).integers(0, 8192, length)
    stream = StreamingDecoder(bicodec, SPEAKER)
    pieces = [stream.push(part) for part in np.split(tokens, sorted(min(c, length) for c in cuts))]
    waveform = np.concatenate([*pieces, stream.finish()])
    offline = bicodec.decode(tokens, SPEAKER)
    assert waveform.shape == offline.shape
    assert waveform.dtype == np.float32
    np.testing.assert_allclose(waveform, offline, atol=1e-5)


def test_samples_come_as_soon_as_67_later_tokens_are_known(bicodec):
    stream = StreamingDecoder(bicodec, SPEAKER)
    assert len(stream.push(np.arange(67))) == 0
    assert len(stream.push([5])) == 320
    assert len(stream.push([6, 7])) == 640
    assert len(stream.finish()) == 67 * 320


def test_the_stream_keeps_no_more_than_its_context(bicodec):
    stream = StreamingDecoder(bicodec, SPEAKER)
    for start in range(0, 2000, 50):
        stream.push(np.arange(start, start + 50))
    assert len(stream._tokens) <= 2 * bicodec.network.prenet.reach
    assert stream._features.shape[2] <= 2 * bicodec.network.decoder.reach


def test_a_finished_stream_takes_no_more(bicodec):
    stream = StreamingDecoder(bicodec, SPEAKER)
    assert stream.finish().shape == (0,)
    with pytest.raises(UserError, match="finished"):
        stream.push([1])
