"""What every recogniser promises, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gpa.curation.consensus.hallucination import HallucinationConfig
from gpa.curation.models.asr.canary import Canary
from gpa.curation.models.asr.ctc_lexicon import CTCLexicon
from gpa.curation.models.asr.paraformer import Paraformer
from gpa.curation.models.asr.parakeet import Parakeet
from gpa.curation.models.asr.whisper import Whisper
from gpa.curation.models.protocols import ASR, Hypothesis
from gpa.eval.labels.recognisers import Clip, measure, one_by_one
from tests.curation.models.asr.samples import sample_clip
from tests.curation.models.memory import left_behind

RATE = 16000


def assert_alike(one: Hypothesis | Exception, other: Hypothesis | Exception) -> None:
    """Equal but for the last digits of probabilities, which padding to a batch may change."""
    assert isinstance(one, Hypothesis)
    assert isinstance(other, Hypothesis)
    assert (one.text, one.language) == (other.text, other.language)
    assert_near(one.confidence, other.confidence)
    for word, expected in zip(one.words, other.words, strict=True):
        assert (word.word, word.start_s, word.end_s) == (
            expected.word,
            expected.start_s,
            expected.end_s,
        )
        assert_near(word.confidence, expected.confidence)


def assert_near(one: float | None, other: float | None) -> None:
    """Two confidences, or none on either side."""
    assert (one is None) == (other is None)
    if one is not None:
        assert one == pytest.approx(other, abs=0.01)


def gives_word_times(asr: ASR) -> bool:
    return isinstance(asr, Whisper | CTCLexicon | Parakeet) or (
        isinstance(asr, Canary) and asr.config.version == "1b-v2"
    )


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [sample_clip("en/counting"), sample_clip("en/hello_world")]


def test_a_batch_is_heard_as_its_utterances_one_by_one(asr: ASR, clips: list[np.ndarray]):
    together = asr.transcribe(clips, RATE, ["en", "en"])
    alone = [asr.transcribe([clip], RATE, ["en"])[0] for clip in clips]
    for heard, expected in zip(together, alone, strict=True):
        assert_alike(heard, expected)


def test_it_has_a_row_in_the_bench_of_truth(asr: ASR, clips: list[np.ndarray]):
    said = [Clip(clip, "en", ("one",)) for clip in clips]
    (row,) = measure("it", one_by_one(asr), said, HallucinationConfig())
    assert (row.unit, row.clips, row.failed) == ("WER", len(clips), 0)


def test_hypotheses_come_in_the_order_of_the_utterances(asr: ASR, clips: list[np.ndarray]):
    first, second = asr.transcribe(clips, RATE, ["en", "en"])
    second_again, first_again = asr.transcribe(clips[::-1], RATE, ["en", "en"])
    assert_alike(first, first_again)
    assert_alike(second, second_again)
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
    assert bool(hypothesis.words) == gives_word_times(asr)
    starts = [word.start_s for word in hypothesis.words]
    assert starts == sorted(starts)
    for word in hypothesis.words:
        assert 0 <= word.start_s <= word.end_s <= len(clips[0]) / RATE
        assert word.confidence is None or 0 <= word.confidence <= 1


def test_a_confidence_is_a_share(asr: ASR, clips: list[np.ndarray]):
    for hypothesis in asr.transcribe(clips, RATE, ["en", "en"]):
        assert isinstance(hypothesis, Hypothesis)
        assert (hypothesis.confidence is None) == (type(asr) is Paraformer)
        assert 0 <= (hypothesis.confidence or 0) <= 1


def test_a_hypothesis_says_which_language_it_is_in(asr: ASR, clips: list[np.ndarray]):
    languages = ["en"] if asr.facts().languages == {"en"} else ["en", "de"]
    for language in languages:
        (hypothesis,) = asr.transcribe(clips[:1], RATE, [language])
        assert isinstance(hypothesis, Hypothesis)
        assert hypothesis.language == language


def test_almost_half_a_minute_is_heard(asr: ASR, clips: list[np.ndarray]):
    long = np.resize(clips[0], round(29.9 * RATE))
    (hypothesis,) = asr.transcribe([long], RATE, ["en"])
    assert isinstance(hypothesis, Hypothesis)
    assert hypothesis.text
    assert all(word.end_s <= 29.9 for word in hypothesis.words)


def test_a_clip_longer_than_the_model_hears_is_refused_alone(asr: ASR, clips: list[np.ndarray]):
    longest_s = asr.longest_s
    if longest_s is None or longest_s > 60:
        return  # no bound, or one that would take minutes to make
    long = np.resize(clips[0], round((longest_s + 1) * RATE))
    refused, heard = asr.transcribe([long, clips[0]], RATE, ["en", "en"])
    assert isinstance(refused, ValueError)
    assert isinstance(heard, Hypothesis)


def test_an_utterance_that_fails_fails_alone(asr: ASR, clips: list[np.ndarray]):
    not_audio = np.full(RATE, "speech", dtype=object)
    good, bad = asr.transcribe([clips[0], not_audio], RATE, ["en", "en"])
    assert isinstance(bad, Exception)
    assert [good] == asr.transcribe(clips[:1], RATE, ["en"])


def test_facts_name_weights_by_hash_before_anything_is_loaded(asr: ASR):
    facts = asr.facts()
    assert all(len(weights.sha256) == 64 for weights in facts.weights)


def test_nothing_stays_in_memory_when_its_adapter_is_gone(
    make: Callable[[], ASR], clips: list[np.ndarray]
):
    def used() -> ASR:
        adapter = make()
        adapter.transcribe(clips[:1], RATE, ["en"])
        return adapter

    assert left_behind(used) == []
