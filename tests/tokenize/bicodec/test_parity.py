"""Against outputs of the public reference implementation."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gpa.tokenize.bicodec import BiCodec, StreamingDecoder
from gpa.tokenize.bicodec.audio import mel_spectrogram, normalize_volume, reference_clip
from gpa.tokenize.bicodec.features import load_features, standardize

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def folder(shared_fixtures: Path) -> Path:
    return shared_fixtures / "bicodec_tiny"


@pytest.fixture(scope="module")
def codec(folder: Path) -> BiCodec:
    return BiCodec.load(folder)


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "expected.npz") as arrays:
        return dict(arrays)


def read(folder: Path, name: str) -> tuple[np.ndarray, int]:
    samples, sample_rate = soundfile.read(folder / f"{name}.wav", always_2d=True)
    return samples.T, sample_rate


@pytest.mark.parametrize("name", ["in", "ref", "ref_long", "in24k_stereo"])
def test_tokens_are_the_reference_s(name, folder, codec, expected):
    waveform, sample_rate = read(folder, name)
    (tokens,) = codec.encode([waveform], sample_rate)
    np.testing.assert_array_equal(tokens.semantic_tokens, expected[f"{name}.semantic"])
    np.testing.assert_array_equal(tokens.global_tokens, expected[f"{name}.global"])


def test_a_batch_of_mixed_lengths_has_the_reference_s_tokens(folder, codec, expected):
    names = ["in", "ref", "ref_long"]
    clips = [read(folder, name)[0] for name in names]
    for name, tokens in zip(names, codec.encode(clips, 16000), strict=True):
        np.testing.assert_array_equal(tokens.semantic_tokens, expected[f"{name}.semantic"])
        np.testing.assert_array_equal(tokens.global_tokens, expected[f"{name}.global"])


def test_every_step_of_encoding_is_the_reference_s(folder, codec, expected):
    waveform, sample_rate = read(folder, "in")
    clip = codec.prepare(0, waveform, sample_rate)
    reference = reference_clip(clip, codec.config.reference_samples)
    speaker = codec.network.speaker_encoder
    with torch.inference_mode():
        latents = codec.latents([clip])
        mel = mel_spectrogram(
            torch.from_numpy(reference)[None], codec.config.audio_tokenizer.mel_params
        )
        steps = {
            "wav_normalized": clip,
            "ref_clip": reference,
            "feats": codec.features([torch.from_numpy(standardize(clip))])[0],
            "mel": mel[0],
            "z": latents[0],
            "z_e": codec.network.quantizer.in_project(latents)[0],
            "ecapa_latent_mean": speaker.speaker_encoder(mel)[0].mean(dim=1),
            "perceiver": speaker.latents(mel)[0],
        }
    for name, value in steps.items():
        np.testing.assert_allclose(value, expected[f"in.{name}"], atol=TOLERANCE, err_msg=name)


def test_every_step_of_decoding_is_the_reference_s(folder, codec, expected):
    semantic, speaker = expected["in.semantic"], expected["ref.global"]
    network = codec.network
    with torch.inference_mode():
        quantized = network.quantizer.decode(torch.from_numpy(semantic)[None])
        d_vector = network.speaker_encoder.decode(torch.from_numpy(speaker)[None])
        steps = {
            "z_q": quantized[0],
            "d_vector": d_vector[0],
            "prenet": network.prenet(quantized, d_vector)[0],
        }
    for name, value in steps.items():
        np.testing.assert_allclose(value, expected[f"dec.{name}"], atol=TOLERANCE, err_msg=name)
    waveform = np.load(folder / "expected_wav.npy").ravel()
    np.testing.assert_allclose(codec.decode(semantic, speaker), waveform, atol=TOLERANCE)


def test_streaming_has_the_reference_s_waveform(folder, codec, expected):
    stream = StreamingDecoder(codec, expected["ref.global"])
    pieces = [stream.push(part) for part in np.array_split(expected["in.semantic"], 9)]
    waveform = np.concatenate([*pieces, stream.finish()])
    reference = np.load(folder / "expected_wav.npy").ravel()
    np.testing.assert_allclose(waveform, reference, atol=TOLERANCE)


@pytest.mark.parametrize("case", range(4))
def test_volume_is_normalized_as_the_reference_does(case, expected):
    normalized = normalize_volume(expected[f"vn{case}.in"])
    np.testing.assert_allclose(normalized, expected[f"vn{case}.out"], atol=1e-12)


def test_old_names_of_the_positional_convolution_give_the_same_features(folder, codec, expected):
    waveform, sample_rate = read(folder, "in")
    clip = torch.from_numpy(standardize(codec.prepare(0, waveform, sample_rate)))
    legacy = load_features(folder / "wav2vec2-large-xlsr-53-legacy")
    with torch.inference_mode():
        features = legacy([clip])[0]
    np.testing.assert_allclose(features, expected["in.feats"], atol=TOLERANCE)


def test_wav2vec2_beside_bicodec_is_found(folder, expected, tmp_path):
    beside = tmp_path / "Spark-TTS" / "BiCodec"
    beside.mkdir(parents=True)
    for name in ("config.yaml", "model.safetensors"):
        shutil.copy(folder / name, beside / name)
    shutil.copytree(folder / "wav2vec2-large-xlsr-53", beside.parent / "wav2vec2-large-xlsr-53")
    waveform, sample_rate = read(folder, "in")
    for place in (beside, beside.parent):
        (tokens,) = BiCodec.load(place).encode([waveform], sample_rate)
        np.testing.assert_array_equal(tokens.semantic_tokens, expected["in.semantic"])
