"""The study of reinforcement: what its control changes, on what settings and which utterances it runs."""

from __future__ import annotations

import numpy as np
import pytest

from gpa.eval.benchmarks.datasets import Item
from gpa.eval.studies.reinforcing import ANSWERS, LONGEST_S, STEPS, _is_short, reinforced, shuffled
from gpa.tokenize.shards import UtteranceTokens
from gpa.train.command import read_config
from tests.runs import ROOT


def test_the_control_pays_other_answers_of_the_group_the_same_rewards():
    rewards = np.random.default_rng(0).normal(size=3 * ANSWERS)
    measured = {"reward": rewards, "words": 2 * rewards}
    control = shuffled(lambda *_: measured, seed=1)
    first, second = (control("asr", [], [])["reward"] for _ in range(2))
    for paid in (first, second):
        groups = zip(paid.reshape(3, ANSWERS), rewards.reshape(3, ANSWERS), strict=True)
        for group, given in groups:
            assert sorted(group) == sorted(given)
            assert (group != given).any()
    assert (first != second).any()  # at every step anew
    again = shuffled(lambda *_: measured, seed=1)("asr", [], [])
    assert (again["reward"] == first).all()
    assert (again["words"] == measured["words"]).all()


def test_reinforcement_is_the_only_phase_on_the_data_that_the_model_was_half_taught_with():
    taught = read_config(ROOT / "train" / "by_heart.yaml")
    settings = reinforced(taught)
    assert settings.phases.keys() == {"reinforce"}
    assert settings.phases["reinforce"].steps == {"tiny": STEPS}
    assert settings.phases["reinforce"].mixture == taught.phases["pretrain"].mixture
    assert settings.reinforce.answers == ANSWERS
    assert (settings.batches, settings.held_back_share) == (taught.batches, 0)


@pytest.mark.parametrize(("tokens", "short"), [(50 * LONGEST_S, True), (50 * LONGEST_S + 1, False)])
def test_utterances_that_fit_into_a_row_are_short(tokens, short):
    text, glm, semantic, speaker = (np.zeros(n, np.uint16) for n in (3, 8, tokens, 32))
    utterance = UtteranceTokens(text.astype(np.int32), glm, semantic, speaker)
    assert _is_short(Item("a", "one", tokens=lambda: utterance)) is short


def test_what_is_not_tokenized_is_not_short():
    assert not _is_short(Item("a", "one"))
