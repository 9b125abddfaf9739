"""A small codec's own parts: the ISTFT head, in batches and in pieces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gpa.tokenize.bicodec import BiCodec, StreamingDecoder
from gpa.tokenize.bicodec.config import read_config
from gpa.tokenize.bicodec.istft import ISTFTGenerator
from gpa.tokenize.weights import SMALL_BICODEC

SPEAKER = np.arange(32) * 100


@pytest.fixture(scope="module")
def codec() -> BiCodec:
    """The one that is shipped."""
    return BiCodec.load(SMALL_BICODEC)


@pytest.fixture(scope="module")
def head() -> ISTFTGenerator:
    return ISTFTGenerator(read_config(SMALL_BICODEC / "config.yaml").audio_tokenizer.decoder)


def test_overlapping_frames_of_a_waveform_give_it_back(head):
    waveform = torch.randn(2, 320 * 30, generator=torch.Generator().manual_seed(0))
    spectra = head.analyse(waveform)
    again = head.overlap(spectra.abs(), spectra.angle())
    torch.testing.assert_close(again, waveform, atol=1e-4, rtol=1e-4)


def test_frames_beyond_the_end_of_a_clip_change_none_of_its_samples(head):
    generator = torch.Generator().manual_seed(0)
    spectra = head.analyse(torch.randn(1, 320 * 20, generator=generator))
    longer = torch.cat([spectra, torch.randn(1, 5, spectra.shape[2], generator=generator)], dim=1)
    valid = torch.arange(25)[None] < 20
    padded = head.overlap(longer.abs(), longer.angle(), valid)
    alone = head.overlap(spectra.abs(), spectra.angle())
    torch.testing.assert_close(padded[:, : 320 * 20], alone)


def test_a_batch_has_the_tokens_and_the_waveforms_of_single_clips(codec, speech):
    clips = [speech(samples, samples) for samples in (400, 9_000, 30_000)]
    together = codec.encode(clips, 16000)
    for clip, tokens in zip(clips, together, strict=True):
        (alone,) = codec.encode([clip], 16000)
        np.testing.assert_array_equal(tokens.semantic_tokens, alone.semantic_tokens)
        np.testing.assert_array_equal(tokens.global_tokens, alone.global_tokens)
    waveforms = codec.decode_batch(
        [tokens.semantic_tokens for tokens in together],
        [tokens.global_tokens for tokens in together],
    )
    for tokens, waveform in zip(together, waveforms, strict=True):
        alone = codec.decode(tokens.semantic_tokens, tokens.global_tokens)
        np.testing.assert_allclose(waveform, alone, atol=1e-5)


def test_pieces_of_a_stream_add_up_to_the_offline_decode(codec):
    tokens = np.random.default_rng(0).integers(0, 8192, 260)
    stream = StreamingDecoder(codec, SPEAKER)
    pieces = [stream.push(part) for part in np.split(tokens, [90, 91, 200])]
    assert any(map(len, pieces))
    waveform = np.concatenate([*pieces, stream.finish()])
    np.testing.assert_allclose(waveform, codec.decode(tokens, SPEAKER), atol=1e-5)
