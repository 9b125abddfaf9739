"""Rows are composed from shards, the same wherever and in whatever order they are asked for."""

from __future__ import annotations

import pickle

import pytest
import torch

from gpa.tokenize.sequences import IGNORED, asr, vc
from gpa.train.catalogue import Catalogue
from gpa.train.data import EvaluationRows, PackedRows, compose, evaluated, packing_efficiency
from gpa.train.mixture import Draw, Mixture, MixtureConfig
from gpa.train.packing import collate


@pytest.fixture(scope="module")
def shards(make_shards, tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("tokens"), 48, longest=200)


@pytest.fixture
def rows(shards, vocabulary):
    mixture = Mixture(MixtureConfig(), Catalogue(shards, 0), 1024, seed=0)
    return PackedRows(shards, vocabulary.structure, mixture, count=900, supervise_all=False)


def test_a_draw_is_composed_from_the_tokens_it_names(shards, vocabulary):
    first, second = shards.tokens(3), shards.tokens(8)
    structure = vocabulary.structure
    got = compose(shards, structure, Draw("asr", 3, 3, 5, 0))
    expected = asr(structure, first.glm_tokens, first.semantic_tokens, first.text_tokens)
    assert (got.ids == expected.ids).all()
    got = compose(shards, structure, Draw("vc", 8, 3, 5, 0))
    reference = shards.tokens(5).global_tokens
    expected = vc(structure, reference, second.semantic_tokens, first.semantic_tokens)
    assert (got.ids == expected.ids).all()


def test_planned_lengths_are_the_composed_ones(rows):
    for number in (0, 1, 500):
        for draw in rows.draws(number):
            assert len(compose(rows.shards, rows.structure, draw).ids) == draw.length


def test_a_row_is_the_same_in_any_order_and_process(rows):
    expected = [rows[number] for number in range(12)]
    far = rows[899]
    travelled = pickle.loads(pickle.dumps(rows))
    for number in (7, 2, 11):
        for name in expected[number]:
            assert (travelled[number][name] == expected[number][name]).all()
            assert (rows[number][name] == expected[number][name]).all()
    assert (travelled[899]["input_ids"] == far["input_ids"]).all()


def test_worker_processes_read_the_same_rows(rows):
    alone, shared = (
        list(
            torch.utils.data.DataLoader(
                torch.utils.data.Subset(rows, range(8)),
                batch_size=2,
                num_workers=workers,
                collate_fn=collate,
            )
        )
        for workers in (0, 2)
    )
    for a, b in zip(alone, shared, strict=True):
        assert (a["input_ids"] == b["input_ids"]).all()


def test_rows_are_nearly_full(rows):
    assert packing_efficiency(rows) > 0.97


def test_rows_end_where_training_does(rows):
    with pytest.raises(IndexError):
        rows[900]


def test_what_a_worker_is_handed_is_small_and_does_not_grow(
    rows, make_shards, tmp_path, vocabulary
):
    shards = make_shards(tmp_path, 4800)
    mixture = Mixture(MixtureConfig(), Catalogue(shards, 0), 1024, seed=0)
    more = PackedRows(shards, vocabulary.structure, mixture, count=900, supervise_all=False)
    assert rows.draws(0)
    assert more.draws(0)
    few, many = (len(pickle.dumps(each)) for each in (rows, more))
    assert many < few + 200 < 20_000


def test_rows_planned_from_a_place_are_those_of_the_whole_run(rows):
    place = rows.place(700)
    assert 0 < place.row <= 700
    later = PackedRows(
        rows.shards, rows.structure, rows.mixture, 900, False, start=place, first=700
    )
    assert [later.draws(n) for n in range(700, 900)] == [rows.draws(n) for n in range(700, 900)]


def test_evaluation_takes_every_held_back_utterance_once(shards, vocabulary):
    catalogue = Catalogue(shards, 0.25)
    held = catalogue.rows[: catalogue.held_back].tolist()
    assert len(held) == 12
    for task in ("asr", "tts", "vc"):
        rows = EvaluationRows(
            task, shards, vocabulary.structure, catalogue, evaluated(catalogue), 1024, seed=0
        )
        assert sorted(draw.target for row in rows.rows for draw in row) == sorted(held)
        assert all(draw.reference in held for row in rows.rows for draw in row)
        supervised = sum(int((rows[i]["labels"] != IGNORED).sum()) for i in range(len(rows)))
        texts = sum(len(shards.tokens(row).text_tokens) + 2 for row in held)
        assert supervised == texts or task != "asr"
