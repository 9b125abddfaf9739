"""Shares are kept exactly, every utterance has its turn, and speakers stay on one side."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.runtime.errors import UserError
from gpa.train.mixture import Mixture, MixtureConfig, candidates, held_back


@pytest.fixture(scope="module")
def shards(make_shards, tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("tokens"), 40, speakers=7)


def mixture(shards, row_tokens=4096, pairs=(), rows=None, seed=0, **config) -> Mixture:
    rows = np.arange(len(shards)) if rows is None else rows
    return Mixture(MixtureConfig(**config), shards.index, rows, row_tokens, seed, pairs)


def tokens_by(draws, key) -> dict:
    tokens = Counter()
    for draw in draws:
        tokens[key(draw)] += draw.length
    total = sum(tokens.values())
    return {name: count / total for name, count in tokens.items()}


def test_tasks_have_their_shares_of_the_tokens(shards):
    draws = islice(mixture(shards, tasks={"asr": 1, "tts": 2, "vc": 5}), 2000)
    shares = tokens_by(draws, lambda draw: draw.task)
    assert shares == pytest.approx({"asr": 1 / 8, "tts": 2 / 8, "vc": 5 / 8}, abs=0.005)


def test_a_language_drawn_twice_as_often_doubles_against_the_others(shards):
    language = shards.index["language"].to_pylist()

    def odds(**config) -> float:
        draws = islice(mixture(shards, tasks={"asr": 1}, **config), 4000)
        shares = tokens_by(draws, lambda draw: language[draw.target])
        return shares["zh"] / shares["en"]

    assert odds(languages={"zh": 2}) == pytest.approx(2 * odds(), rel=0.02)


def test_a_source_of_weight_zero_is_never_drawn(shards):
    source = shards.index["source"].to_pylist()
    draws = islice(mixture(shards, sources={"calls": 0}), 500)
    assert {source[draw.target] for draw in draws} == {"books"}


def test_every_utterance_has_its_turn_in_each_pass(shards):
    draws = list(islice(mixture(shards, tasks={"tts": 1}, sources={"calls": 0}), 40))
    books = Counter(draw.target for draw in draws)
    assert set(books.values()) == {2}


def test_a_reference_is_another_utterance_of_the_speaker_trained_on(shards):
    speaker = shards.index["speaker"].to_pylist()
    rows = np.arange(3, 40)
    for draw in islice(mixture(shards, rows=rows, tasks={"tts": 1, "vc": 1}), 500):
        assert speaker[draw.reference] == speaker[draw.target]
        assert draw.reference != draw.target
        assert draw.reference in rows


def test_a_lone_utterance_is_its_own_reference_and_counted(shards):
    lone = mixture(shards, rows=np.array([0, 1, 7]), tasks={"tts": 1})
    assert lone.own_references == 1
    assert {d.reference for d in islice(lone, 30) if d.target == 1} == {1}


def test_given_pairs_are_converted_besides_each_utterance_from_itself(shards):
    draws = list(islice(mixture(shards, tasks={"vc": 1}, pairs=[(0, 5), (3, 2)]), 200))
    unequal = {(draw.source, draw.target) for draw in draws if draw.source != draw.target}
    assert unequal == {(0, 5), (3, 2)}
    assert {draw.target for draw in draws} == set(range(40))


def test_the_same_seed_draws_the_same_and_another_seed_does_not(shards):
    first, again, other = (list(islice(mixture(shards, seed=s), 300)) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_sequences_longer_than_a_row_are_dropped_and_counted(shards):
    short = candidates("vc", shards.index, np.arange(40), row_tokens=100)
    whole = candidates("vc", shards.index, np.arange(40), row_tokens=4096)
    assert short.too_long == int((whole.lengths > 100).sum()) > 0
    assert len(short.lengths) + short.too_long == 40
    assert short.lengths.max() <= 100


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"languages": {"eng": 2}}, "names 'eng', which the data does not have; it has en, zh"),
        ({"tasks": {"asr": 0}}, "No task has a share"),
        ({"sources": {"books": 0, "calls": 0}}, "No sequence of task asr fits"),
    ],
)
def test_a_mixture_that_draws_nothing_is_refused(shards, config, message):
    with pytest.raises(UserError, match=message):
        next(iter(mixture(shards, **config)))


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=40), st.floats(0.01, 0.4))
def test_a_speaker_is_trained_on_or_held_back_never_both(speakers, share):
    if len(set(speakers)) < 2:
        return
    held = held_back(speakers, share)
    assert not set(np.array(speakers)[held]) & set(np.array(speakers)[~held])
    assert held.any()


def test_a_single_speaker_can_not_be_held_back():
    with pytest.raises(UserError, match="none would be left"):
        held_back(["a", "a"], 0.05)
    assert not held_back(["a", "a"], 0).any()
