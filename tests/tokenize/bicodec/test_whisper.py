"""A small codec that hears a Whisper: features of batches and long clips, and where it is found."""

from __future__ import annotations

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpa.runtime.config import read_yaml
from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec.features import frame_count
from gpa.tokenize.bicodec.loading import find_parts
from gpa.tokenize.bicodec.whisper import WhisperFeatures, load_whisper
from gpa.tokenize.glm.tokenizer import RELEASED
from gpa.tokenize.weights import SMALL_BICODEC, SMALL_GLM
from tests.models import make_speech

LAYERS = 3


@pytest.fixture(scope="module")
def whisper() -> WhisperFeatures:
    """The one inside the GLM tokenizer that is shipped."""
    return load_whisper(SMALL_GLM, LAYERS)


@settings(max_examples=10)
@given(st.lists(st.integers(400, 40_000), min_size=1, max_size=4))
def test_features_of_a_batch_are_those_of_single_clips_frame_for_frame(whisper, lengths):
    clips = [torch.from_numpy(make_speech(length, length)) for length in lengths]
    together = whisper(clips)
    assert together.shape == (len(clips), frame_count(max(lengths)), 384)
    for row, clip in zip(together, clips, strict=True):
        frames = frame_count(len(clip))
        alone = whisper([clip])[0, :frames]
        torch.testing.assert_close(row[:frames], alone, atol=1e-3, rtol=1e-3)


def test_chunks_of_30_s_do_not_hear_each_other(whisper):
    """Features of a long clip are those of its chunks, but for the mean over all of it."""
    clip = torch.from_numpy(make_speech(32 * 16_000))
    long, first, rest = (whisper([each])[0] for each in (clip, clip[:480_000], clip[480_000:]))
    for ours, theirs in ((long[: len(first)], first), (long[1500:], rest)):
        torch.testing.assert_close(ours - ours.mean(0), theirs - theirs.mean(0), atol=1e-3, rtol=0)


def test_a_whisper_of_fewer_layers_is_refused():
    with pytest.raises(UserError, match="has 3 layers and not 4"):
        load_whisper(SMALL_GLM, 4)


def test_the_whisper_inside_a_folder_comes_before_the_shipped_one(tmp_path):
    assert find_parts(SMALL_BICODEC)["glm"] == SMALL_GLM
    config = read_yaml(SMALL_BICODEC / "config.yaml")
    assert config["audio_tokenizer"]["features"] == {"whisper_layers": LAYERS}
    shutil.copy(SMALL_BICODEC / "config.yaml", tmp_path)
    (tmp_path / RELEASED).mkdir()
    assert find_parts(tmp_path)["glm"] == tmp_path / RELEASED
