"""What answers are paid for: measured as tables are, and an error is never a reward."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gpa.curation.models.protocols import Hypothesis
from gpa.runtime.errors import UserError
from gpa.train.judges import Judges
from gpa.train.mixture import Draw
from gpa.train.rewards import Ears, Rewards, RewardsConfig, advantages, error_rate, summary

ASR, TTS = Draw("asr", 0, 0, 8, 0), Draw("tts", 0, 0, 8, 0)


class Judge:
    """An ASR that writes down how long it listened, or fails."""

    def __init__(self, heard: str | Exception):
        self.heard = heard

    def transcribe(self, waveforms, sample_rate, languages):
        return [Hypothesis(self.heard) if isinstance(self.heard, str) else self.heard]


class Loudness:
    """An encoder to which voices differ by how loud they are at their beginning and their end."""

    name = "loudness"

    def embed(self, waveform):
        return np.array([np.abs(half).mean() for half in np.array_split(waveform, 2)])


@pytest.fixture(scope="module")
def shards(make_shards, tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("tokens"), 16, speakers=8)


@pytest.fixture
def rewards(shards, vocabulary, bicodec):
    def make(heard: str | Exception = "", **config) -> Rewards:
        judges = Judges(dict.fromkeys(("en", "zh"), Judge(heard)), Loudness())
        return Rewards(RewardsConfig(**config), shards, vocabulary, Ears(bicodec, judges))

    return make


def test_recognition_is_paid_for_units_that_are_right(rewards, shards, vocabulary):
    answers = [
        vocabulary.encode_text(text).tolist()
        for text in (shards.text(0)[0].upper(), "Mister Quilter is the apostle of all", "")
    ]
    measured = rewards()("asr", [ASR] * 3, answers)
    # "Mister Quilter is the apostle of the middle classes."
    np.testing.assert_allclose(measured["error_rate"], [0, 3 / 9, 1])
    np.testing.assert_allclose(measured["reward"], -measured["error_rate"])


def test_speech_is_paid_for_what_the_judge_hears_its_voice_and_its_length(rewards, shards):
    long = next(n for n in range(16) if len(shards.tokens(n).semantic_tokens) >= 40)
    right, draw = shards.tokens(long), TTS._replace(reference=long)
    answers = [right.semantic_tokens.tolist(), right.semantic_tokens.tolist()[:20]]
    heard = shards.text(0)[0]
    weights = {"error_rate": -2.0, "similarity": 1.0, "length": -0.5}
    measured = rewards(heard, tts=weights)("tts", [draw] * 2, answers)
    length = len(shards.tokens(0).semantic_tokens)
    np.testing.assert_allclose(measured["error_rate"], [0, 0])
    # The reference's own tokens in its own voice; too short to have a voice.
    np.testing.assert_allclose(measured["similarity"], [1, 0])
    np.testing.assert_allclose(
        measured["length"], [abs(len(each) - length) / length for each in answers]
    )
    total = sum(weight * measured[name] for name, weight in weights.items())
    np.testing.assert_allclose(measured["reward"], total)


def test_what_has_no_weight_is_not_measured(rewards):
    measured = rewards(RuntimeError("deaf"), tts={"length": -1.0})("tts", [TTS], [[1, 2, 3]])
    assert set(measured) == {"length", "reward"}


def test_an_error_of_a_judge_is_an_error(rewards):
    with pytest.raises(UserError, match=r"judge failed .*deaf"):
        rewards(RuntimeError("deaf"))("tts", [TTS], [[1, 2, 3]])


def test_another_codec_than_that_of_the_tokens_is_refused(shards):
    with pytest.raises(UserError, match="not the codec that made these tokens"):
        Ears.load(RewardsConfig(), shards.provenance, ["en"])


def test_a_reference_without_units_counts_what_was_said():
    assert error_rate("", "ab") == 2
    assert error_rate("", "") == 0


@given(arrays(float, (5, 4), elements=st.floats(-10, 10)))
def test_advantages_are_rewards_less_their_groups_mean(rewards):
    found = advantages(rewards)
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-9)
    np.testing.assert_allclose(np.diff(found), np.diff(rewards), atol=1e-9)


def test_a_summary_has_mean_spread_and_the_share_of_groups_left_out():
    values = np.array([[1.0, 3.0], [5.0, 5.0]])
    assert summary(values) == {"": 3.5, "_spread": 0.5, "_left_out": 0.5}
