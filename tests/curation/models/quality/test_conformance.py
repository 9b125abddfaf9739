"""What every quality scorer promises, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gpa.curation.models.protocols import MOS, QualityScorer
from tests.curation.models.asr.samples import sample_clip
from tests.curation.models.memory import left_behind

RATE = 16000


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return sample_clip("en/counting")


def assert_on_the_scale(score: MOS) -> None:
    """Opinions go from 1 to 5, give or take; parts that the model does not know have none."""
    for value in (score.overall, score.signal, score.background):
        assert value is None or 0.9 <= value <= 5.1


@pytest.mark.parametrize("samples", [1, 799, 801, 3200, 3333])
def test_clips_of_a_fifth_of_a_second_and_odd_lengths_have_a_score(
    any_scorer: QualityScorer, speech, samples: int
):
    (score,) = any_scorer.score([speech[RATE // 2 :][:samples]], RATE)
    assert_on_the_scale(score)


def test_almost_half_a_minute_has_a_score(any_scorer: QualityScorer, speech):
    (score,) = any_scorer.score([np.resize(speech, round(29.9 * RATE))], RATE)
    assert_on_the_scale(score)


def test_digital_silence_has_a_score(any_scorer: QualityScorer):
    (score,) = any_scorer.score([np.zeros(RATE, np.float32)], RATE)
    assert_on_the_scale(score)


def test_a_clip_without_samples_is_an_error(any_scorer: QualityScorer):
    with pytest.raises(ValueError, match="without samples"):
        any_scorer.score([np.zeros(0, np.float32)], RATE)


def test_a_batch_is_scored_as_its_clips_one_by_one_in_their_order(
    any_scorer: QualityScorer, speech
):
    noise = np.random.default_rng(0).normal(0, 0.05, len(speech)).astype(np.float32)
    clips = [speech, speech + noise, speech[: RATE // 2]]
    together = any_scorer.score(clips, RATE)
    assert together == [any_scorer.score([clip], RATE)[0] for clip in clips]
    assert together[0] != together[1]


def test_an_empty_batch_has_no_scores(any_scorer: QualityScorer):
    assert any_scorer.score([], RATE) == []


def test_facts_name_weights_by_hash(any_scorer: QualityScorer):
    facts = any_scorer.facts()
    assert facts.weights
    assert all(len(weights.sha256) == 64 for weights in facts.weights)
    assert facts.licence
    assert facts.memory_mb


def test_nothing_stays_in_memory_when_its_adapter_is_gone(
    make: Callable[[], QualityScorer], speech
):
    def used() -> QualityScorer:
        adapter = make()
        adapter.score([speech], RATE)
        return adapter

    assert left_behind(used) == []
