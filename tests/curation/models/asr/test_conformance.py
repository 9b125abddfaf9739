"""What every recogniser promises, whatever it is made of."""

from __future__ import annotations

import numpy as np
import pytest

from gpa.curation.models.protocols import ASR, Hypothesis
from tests.curation.models.asr.samples import sample_clip

RATE = 16000


def assert_alike(one: Hypothesis | Exception, other: Hypothesis | Exception) -> None:
    """Equal but for the last digits of probabilities, which padding to a batch may change."""
    assert isinstance(one, Hypothesis)
    assert isinstance(other, Hypothesis)
    assert (one.text, one.language) == (other.text, other.language)
    assert one.confidence == pytest.approx(other.confidence, abs=0.01)
    for word, expected in zip(one.words, other.words, strict=True):
        assert (word.word, word.start_s, word.end_s) == (
            expected.word,
            expected.start_s,
            expected.end_s,
        )
        assert word.confidence == pytest.approx(expected.confidence, abs=0.01)


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [sample_clip("en/counting"), sample_clip("en/hello_world")]


def test_a_batch_is_heard_as_its_utterances_one_by_one(asr: ASR, clips: list[np.ndarray]):
    together = asr.transcribe(clips, RATE, ["en", "en"])
    alone = [asr.transcribe([clip], RATE, ["en"])[0] for clip in clips]
    for heard, expected in zip(together, alone, strict=True):
        assert_alike(heard, expected)


def test_hypotheses_come_in_the_order_of_the_utterances(asr: ASR, clips: list[np.ndarray]):
    first, second = asr.transcribe(clips, RATE, ["en", "en"])
    assert asr.transcribe(clips[::-1], RATE, ["en", "en"]) == [second, first]
    assert first != second


def test_an_empty_batch_gives_no_hypotheses(asr: ASR):
    assert asr.transcribe([], RATE, []) == []


@pytest.mark.parametrize("samples", [0, 1, RATE])
def test_digital_silence_gives_empty_text(asr: ASR, samples: int):
    (hypothesis,) = asr.transcribe([np.zeros(samples, np.float32)], RATE, ["en"])
    assert isinstance(hypothesis, Hypothesis)
    assert (hypothesis.text, hypothesis.words) == ("", ())


@pytest.mark.parametrize("samples", [3200, 3333, 799, 801])
def test_clips_of_a_fifth_of_a_second_and_odd_lengths_do_not_fail(
    asr: ASR, clips: list[np.ndarray], samples: int
):
    (hypothesis,) = asr.transcribe([clips[0][RATE // 2 :][:samples]], RATE, ["en"])
    assert isinstance(hypothesis, Hypothesis)


def test_word_times_lie_in_the_clip_and_rise(asr: ASR, clips: list[np.ndarray]):
    (hypothesis,) = asr.transcribe(clips[:1], RATE, ["en"])
    assert isinstance(hypothesis, Hypothesis)
    assert hypothesis.words
    starts = [word.start_s for word in hypothesis.words]
    assert starts == sorted(starts)
    for word in hypothesis.words:
        assert 0 <= word.start_s <= word.end_s <= len(clips[0]) / RATE
        assert word.confidence is not None
        assert 0 <= word.confidence <= 1


def test_an_utterance_that_fails_fails_alone(asr: ASR, clips: list[np.ndarray]):
    not_audio = np.full(RATE, "speech", dtype=object)
    good, bad = asr.transcribe([clips[0], not_audio], RATE, ["en", "en"])
    assert isinstance(bad, Exception)
    assert [good] == asr.transcribe(clips[:1], RATE, ["en"])


def test_facts_name_weights_by_hash_before_anything_is_loaded(asr: ASR):
    facts = asr.facts()
    assert all(len(weights.sha256) == 64 for weights in facts.weights)
    assert facts.confidence_means
