"""The study of reinforcement: what its control changes, and on what settings it runs."""

from __future__ import annotations

import numpy as np
import pytest

from gpa.eval.studies.reinforcing import TRIALS, by_heart, misfile, reinforced, shuffled
from gpa.tokenize.shards import VOCABULARY, TokenShards
from gpa.tokenize.vocabulary import Vocabulary
from gpa.train.command import read_config
from tests.runs import ROOT

ANSWERS = 8


def test_the_control_pays_other_answers_of_the_group_the_same_rewards():
    rewards = np.random.default_rng(0).normal(size=3 * ANSWERS)
    measured = {"reward": rewards, "words": 2 * rewards}
    control = shuffled(lambda *_: measured, ANSWERS, seed=1)
    first, second = (control("asr", [], [])["reward"] for _ in range(2))
    for paid in (first, second):
        groups = zip(paid.reshape(3, ANSWERS), rewards.reshape(3, ANSWERS), strict=True)
        for group, given in groups:
            assert sorted(group) == sorted(given)
            assert (group != given).any()
    assert (first != second).any()  # at every step anew
    again = shuffled(lambda *_: measured, ANSWERS, seed=1)("asr", [], [])
    assert (again["reward"] == first).all()
    assert (again["words"] == measured["words"]).all()


def test_short_utterances_are_taught_as_they_are_and_once_more_with_anothers_speech(
    make_shards, vocabulary, tmp_path
):
    shards = make_shards(tmp_path / "tokens", 12, speakers=3)
    vocabulary.save(shards.folder / VOCABULARY)
    lengths = sorted(len(shards.tokens(number).semantic_tokens) for number in range(12))
    taught, true = map(TokenShards, misfile(shards, lengths[7], tmp_path))

    def said(shards: TokenShards) -> list[tuple[str, list[int]]]:
        rows = shards.table(["text", "semantic_tokens"]).to_pylist()
        return [(row["text"], row["semantic_tokens"]) for row in rows]

    short = [each for each in said(shards) if len(each[1]) <= lengths[7]]
    assert said(true) == said(taught)[: len(short)] == short
    misfiled = said(taught)[len(short) :]
    assert [text for text, _ in misfiled] == [text for text, _ in short]
    assert sorted(speech for _, speech in misfiled) == sorted(speech for _, speech in short)
    assert not any(each in short for each in misfiled)
    assert (
        Vocabulary.beside(taught.folder / VOCABULARY).text_digest == shards.provenance.text_digest
    )


@pytest.mark.parametrize("task", TRIALS)
def test_reinforcement_asks_for_what_was_half_learnt(task):
    taught = by_heart(read_config(ROOT / "train" / "by_heart.yaml"), task)
    assert taught.phases["pretrain"].mixture.tasks == {task: 1.0}
    settings = reinforced(taught, task)
    assert settings.phases.keys() == {"reinforce"}
    assert settings.phases["reinforce"].steps == {"tiny": TRIALS[task].steps}
    assert settings.phases["reinforce"].mixture == taught.phases["pretrain"].mixture
    assert settings.reinforce.answers == TRIALS[task].answers
    assert (settings.batches, settings.held_back_share) == (taught.batches, 0)
