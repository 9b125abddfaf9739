"""Shares are kept exactly, every utterance has its turn, and speakers stay on one side."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.runtime.errors import UserError
from gpa.tokenize.shards import TokenShards
from gpa.tokenize.vocabulary import Vocabulary
from gpa.train.catalogue import Catalogue, speakers_held_back
from gpa.train.data import compose
from gpa.train.mixture import WINDOW, Mixture, MixtureConfig
from gpa.train.permutation import permuted


@pytest.fixture(scope="module")
def shards(make_shards, tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("tokens"), 40, speakers=7)


def mixture(shards, row_tokens=4096, pairs=(), held_back=0.0, seed=0, **config) -> Mixture:
    catalogue = Catalogue(shards, held_back)
    positions = catalogue.positions(np.array(pairs, np.int64).reshape(-1, 2))
    return Mixture(MixtureConfig(**config), catalogue, row_tokens, seed, positions)


def column(shards: TokenShards, name: str) -> list:
    return shards.table([name])[name].to_pylist()


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
    language = column(shards, "language")

    def odds(**config) -> float:
        draws = islice(mixture(shards, tasks={"asr": 1}, **config), 4000)
        shares = tokens_by(draws, lambda draw: language[draw.target])
        return shares["zh"] / shares["en"]

    assert odds(languages={"zh": 2}) == pytest.approx(2 * odds(), rel=0.02)


def test_a_source_of_weight_zero_is_never_drawn(shards):
    source = column(shards, "source")
    draws = islice(mixture(shards, sources={"calls": 0}), 500)
    assert {source[draw.target] for draw in draws} == {"books"}


def test_every_utterance_has_its_turn_in_each_pass(shards):
    draws = list(islice(mixture(shards, tasks={"tts": 1}, sources={"calls": 0}), 40))
    books = Counter(draw.target for draw in draws)
    assert set(books.values()) == {2}


def test_a_reference_is_another_utterance_of_the_speaker_trained_on(shards):
    speaker = column(shards, "speaker")
    for draw in islice(mixture(shards, tasks={"tts": 1, "vc": 1}), 500):
        assert speaker[draw.reference] == speaker[draw.target]
        assert draw.reference != draw.target


def test_each_other_utterance_of_the_speaker_is_a_reference_in_time(shards):
    speaker = column(shards, "speaker")
    seen = {d.reference for d in islice(mixture(shards, tasks={"tts": 1}), 2000) if d.target == 3}
    assert seen == {row for row in range(40) if speaker[row] == speaker[3]} - {3}


def test_a_lone_utterance_is_its_own_reference_and_counted(make_shards, tmp_path):
    lone = mixture(make_shards(tmp_path, 9, speakers=8), tasks={"tts": 1})
    assert lone.catalogue.own_references == 7
    assert {d.reference for d in islice(lone, 30) if d.target == 1} == {1}
    assert {d.reference for d in islice(lone, 30) if d.target == 8} == {0}


def test_a_continuation_goes_on_from_another_utterance_or_is_left_out(make_shards, tmp_path):
    lone_shards = make_shards(tmp_path, 9, speakers=8)
    lone = mixture(lone_shards, tasks={"tts_continued": 1})
    assert (lone.tasks["tts_continued"].sequences, lone.tasks["tts_continued"].too_long) == (2, 7)
    structure = Vocabulary.build().structure
    drawn = list(islice(lone, 6))
    assert {(draw.target, draw.reference) for draw in drawn} == {(0, 8), (8, 0)}
    for draw in drawn:
        assert len(compose(lone_shards, structure, draw).ids) == draw.length


def test_speakers_held_back_are_never_drawn(shards):
    speaker = column(shards, "speaker")
    held = mixture(shards, held_back=0.4)
    named = {speaker[row] for row in held.catalogue.rows[: held.catalogue.held_back]}
    drawn = {speaker[row] for draw in islice(held, 500) for row in draw[1:4]}
    assert len(named) == held.catalogue.held_speakers == 3
    assert drawn == set(speaker) - named


def test_a_run_goes_on_from_any_window_as_if_it_had_never_stopped(shards):
    whole = mixture(shards, tasks={"asr": 1, "tts": 2, "vc": 5})
    windows = list(islice(whole.rows(), 5))
    for start in (1, 4):
        again = list(islice(whole.rows(windows[start][0]), 5 - start))
        assert again == windows[start:]
    assert windows[4][0].row == sum(len(rows) for _, rows in windows[:4])
    assert sum(windows[4][0].drawn) == 4 * WINDOW


@given(st.integers(1, 3000), st.integers(0, 2**40), st.integers(0, 100))
def test_a_computed_order_has_every_place_once_and_differs_by_key(size, seed, turn):
    order = permuted(np.arange(size), size, [seed, turn])
    assert sorted(order.tolist()) == list(range(size))
    some = np.arange(size)[:: max(1, size // 7)]
    assert (permuted(some, size, [seed, turn]) == order[some]).all()
    if size > 50:
        assert (order != permuted(np.arange(size), size, [seed, turn + 1])).any()
        assert abs(np.corrcoef(np.arange(size), order)[0, 1]) < 5 / size**0.5


def test_given_pairs_are_converted_besides_each_utterance_from_itself(shards):
    draws = list(islice(mixture(shards, tasks={"vc": 1}, pairs=[(0, 5), (3, 2)]), 200))
    unequal = {(draw.source, draw.target) for draw in draws if draw.source != draw.target}
    assert unequal == {(0, 5), (3, 2)}
    assert {draw.target for draw in draws} == set(range(40))


def test_conversions_are_in_anyones_voice_where_asked_for_but_given_pairs_in_their_own(shards):
    speaker = column(shards, "speaker_key")
    catalogue = Catalogue(shards, 0.2)
    trained = catalogue.rows[catalogue.held_back :].tolist()
    pair = trained[0], trained[-1]
    assert speaker[pair[0]] != speaker[pair[1]]

    def voices(**config) -> tuple[list[bool], set[int]]:
        """Whether each conversion into itself has its speaker's voice, and who gives a voice."""
        vc = mixture(shards, tasks={"vc": 1}, pairs=[pair], held_back=0.2, **config)
        draws = list(islice(vc, 2000))
        own: dict[bool, list[bool]] = {True: [], False: []}
        for each in draws:
            same = speaker[each.reference] == speaker[each.target]
            own[each.source == each.target].append(same)
        assert own[False]
        assert all(own[False])
        return own[True], {each.reference for each in draws}

    own, _ = voices()
    assert all(own)
    own, given = voices(vc_voice="any")
    assert given == set(trained)
    assert 0.1 < np.mean(own) < 0.4


def test_the_same_seed_draws_the_same_and_another_seed_does_not(shards):
    first, again, other = (list(islice(mixture(shards, seed=s), 300)) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_sequences_longer_than_a_row_are_dropped_and_counted(shards):
    short = mixture(shards, row_tokens=100, tasks={"vc": 1})
    whole = mixture(shards, tasks={"vc": 1})
    lengths = {draw.target: draw.length for draw in islice(whole, 80)}
    assert len(lengths) == 40
    too_long = short.tasks["vc"].too_long
    assert too_long == sum(length > 100 for length in lengths.values()) > 0
    assert short.tasks["vc"].sequences == 40 - too_long
    assert short.tasks["vc"].tokens == sum(n for n in lengths.values() if n <= 100)
    drawn = {draw.target: draw.length for draw in islice(short, 80)}
    assert drawn == {target: n for target, n in lengths.items() if n <= 100}


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


@given(st.integers(2, 1000), st.floats(0.01, 0.4))
def test_somebody_is_held_back_and_somebody_is_not(speakers, share):
    held = speakers_held_back(speakers, share)
    assert 0 < held < speakers
    assert abs(held - share * speakers) <= 1


def test_a_single_speaker_can_not_be_held_back():
    with pytest.raises(UserError, match="none would be left"):
        speakers_held_back(1, 0.05)
    assert speakers_held_back(1, 0) == 0
