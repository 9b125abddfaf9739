"""A batch of clips gives what each clip gives alone, in both directions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st

from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.bicodec.features import frame_count
from gpa.tokenize.exact import exact_float32

# Cosines differ by this at most between batch sizes: float32 rounding, some layers deep.
ROUNDING = 1e-4

durations_s = st.lists(st.floats(0.025, 4), min_size=2, max_size=5)


def assert_same_tokens(codec: BiCodec, clips: list[np.ndarray]) -> int:
    """Returns how many tokens differ, all of them ties within float32 rounding."""
    batch = codec.encode(clips, 16000)
    differing = 0
    for clip, together in zip(clips, batch, strict=True):
        (alone,) = codec.encode([clip], 16000)
        np.testing.assert_array_equal(together.global_tokens, alone.global_tokens)
        assert together.semantic_tokens.shape == alone.semantic_tokens.shape
        turned = np.flatnonzero(together.semantic_tokens != alone.semantic_tokens)
        differing += len(turned)
        if len(turned):
            with exact_float32():
                latents = codec.latents([codec.prepare(0, clip, 16000)])
                projected = codec.network.quantizer.in_project(latents)[0].T
                best = codec.network.quantizer.similarities(projected[turned]).topk(2).values
            assert (best[:, 0] - best[:, 1]).max() < ROUNDING
    return differing


@settings(max_examples=12)
@given(durations_s, st.integers(0, 1000))
def test_tokens_of_a_batch_are_those_of_single_clips(bicodec, speech, durations, seed):
    clips = [speech(round(seconds * 16000), seed + clip) for clip, seconds in enumerate(durations)]
    event(f"tokens that differ: {assert_same_tokens(bicodec, clips)}")


def test_a_batch_from_25_ms_to_60_s_has_the_tokens_of_single_clips(
    bicodec, speech, record_property
):
    clips = [speech(round(s * 16000), round(s)) for s in (0.025, 60, 0.3, 1.01, 57, 7.3, 6.9)]
    record_property("tokens that differ", assert_same_tokens(bicodec, clips))


def test_padding_changes_no_latent(bicodec, speech):
    clips = [
        bicodec.prepare(0, speech(samples, samples), 16000) for samples in (400, 50_000, 9_000)
    ]
    with exact_float32():
        padded = bicodec.latents(clips)
        for row, clip in zip(padded, clips, strict=True):
            alone = bicodec.latents([clip])[0]
            torch.testing.assert_close(
                row[:, : frame_count(len(clip))], alone, atol=1e-4, rtol=1e-4
            )


@settings(max_examples=12)
@given(st.lists(st.integers(1, 120), min_size=2, max_size=5), st.integers(0, 1000))
def test_waveforms_of_a_batch_are_those_of_single_clips(bicodec, lengths, seed):
    generator = np.random.default_rng(seed)
    contents = [generator.integers(0, 8192, length) for length in lengths]
    speakers = [generator.integers(0, 4096, 32) for _ in lengths]
    together = bicodec.decode_batch(contents, speakers)
    for waveform, content, speaker in zip(together, contents, speakers, strict=True):
        assert waveform.shape == (320 * len(content),)
        np.testing.assert_allclose(waveform, bicodec.decode(content, speaker), atol=1e-5)


def test_padding_up_to_the_longest_clip_changes_no_sample(bicodec):
    generator = np.random.default_rng(5)
    contents = [torch.from_numpy(generator.integers(0, 8192, length)) for length in (3, 200)]
    speakers = torch.from_numpy(generator.integers(0, 4096, (2, 32)))
    with exact_float32():
        rendered = bicodec._render(contents, speakers).numpy()
    for waveform, content, speaker in zip(rendered, contents, speakers, strict=True):
        alone = bicodec.decode(content, speaker)
        np.testing.assert_allclose(waveform[: len(alone)], alone, atol=1e-5)


def test_global_tokens_alone_are_those_of_encoding_and_need_no_wav2vec2(
    bicodec, speech, monkeypatch
):
    clips = [speech(5_000, 1), speech(120_000, 2)]
    encoded = bicodec.encode(clips, 16000)

    def refuse(*_):
        raise AssertionError("wav2vec 2.0 was run")

    monkeypatch.setattr(bicodec.features, "forward", refuse)
    for tokens, alone in zip(encoded, bicodec.encode_global(clips, 16000), strict=True):
        np.testing.assert_array_equal(tokens.global_tokens, alone)


def test_global_tokens_hear_the_first_six_seconds_only(bicodec, speech):
    clip = speech(150_000, 3)
    other_end = clip.copy()
    # Loud enough to be heard, not louder than the rest: the volume is measured on the whole clip.
    other_end[96_000:] = clip[96_000:][::-1]
    first, second = bicodec.encode_global([clip, other_end], 16000)
    np.testing.assert_array_equal(first, second)


def test_no_clips_have_no_tokens(bicodec):
    assert bicodec.encode([], 16000) == []
    assert bicodec.decode_batch([], []) == []


@pytest.mark.parametrize("max_batch_s", [0.7, 3.0])
def test_memory_is_bounded_by_the_batch(small_folders, speech, monkeypatch, max_batch_s):
    codec = BiCodec.load(small_folders[0], max_batch_s=max_batch_s)
    seen_s = []
    forward = codec.features.forward

    def record(waveforms):
        seen_s.append(len(waveforms) * max(map(len, waveforms)) / 16000)
        return forward(waveforms)

    monkeypatch.setattr(codec.features, "forward", record)
    codec.encode([speech(samples, samples) for samples in range(800, 11_000, 1_300)], 16000)
    # A frame of slack: the bound counts whole frames.
    assert max(seen_s) <= max_batch_s * 1.1
