"""Packing wastes little, cuts nothing, and no sequence sees another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from gpa.tokenize.sequences import IGNORED, TaskSequence
from gpa.train.attention import BY_SEQUENCE
from gpa.train.loss import with_packed_loss
from gpa.train.packing import collate, fill_row, pack
from gpa.train.sizes import new_model

ATTENTIONS = (BY_SEQUENCE, "sdpa")


def token_losses(model, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Loss of each token, shape (rows, tokens), 0 where nothing is supervised."""
    others = {name: value for name, value in inputs.items() if name != "labels"}
    logits = type(model).forward(model, use_cache=False, **others).logits[:, :-1]
    targets = inputs["labels"][:, 1:]
    losses = cross_entropy(
        logits.float().transpose(1, 2), targets, ignore_index=IGNORED, reduction="none"
    )
    return torch.nn.functional.pad(losses, (1, 0))


def sequences(*lengths: int, seed: int = 0) -> list[TaskSequence]:
    rng = np.random.default_rng(seed)
    return [
        TaskSequence(rng.integers(0, 180_445, length).astype(np.int32), int(length * 0.6))
        for length in lengths
    ]


@pytest.fixture(scope="module", params=ATTENTIONS)
def model(request):
    return with_packed_loss(new_model("tiny", 0, attn_implementation=request.param)).eval()


@given(st.lists(st.integers(1, 100), max_size=80))
def test_every_sequence_is_in_one_row_and_fits(lengths):
    rows = pack(lengths, 100)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= 100 for row in rows)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=80))
def test_no_two_rows_would_fit_in_one(lengths):
    filled = sorted(sum(lengths[i] for i in row) for row in pack(lengths, 100))
    assert len(filled) == 1 or filled[0] + filled[1] > 100


def test_a_sequence_longer_than_the_row_is_never_cut():
    with pytest.raises(ValueError, match="does not fit"):
        pack([5, 101], 100)


def test_labels_are_the_answers_or_all_but_the_first_token():
    short, long = sequences(5, 10)
    row = fill_row([short, long], 20, supervise_all=False)
    assert (row["labels"] != IGNORED).nonzero()[0].tolist() == [3, 4, 11, 12, 13, 14]
    row = fill_row([short, long], 20, supervise_all=True)
    assert (row["labels"] != IGNORED).nonzero()[0].tolist() == [*range(1, 5), *range(6, 15)]
    assert row["position_ids"].tolist() == [*range(5), *range(10), *range(5)]


@pytest.mark.parametrize("supervise_all", [False, True])
def test_the_loss_of_a_row_is_the_mean_of_its_sequences_alone(model, supervise_all):
    parts = sequences(40, 7, 25, 18)
    packed = model(**collate([fill_row(parts, 100, supervise_all)])).loss
    plain = new_model("tiny", 0).eval()
    total, tokens = 0.0, 0
    for part in parts:
        # Each alone, through the model's own loss on whole logits.
        labels = torch.tensor(part.ids if supervise_all else part.labels).long()[None]
        ids = torch.tensor(part.ids).long()[None]
        alone = plain(input_ids=ids, labels=labels).loss
        count = int((labels[:, 1:] != IGNORED).sum())
        total, tokens = total + alone.item() * count, tokens + count
    assert packed.item() == pytest.approx(total / tokens, abs=1e-5)


def test_the_order_of_sequences_changes_no_sequences_loss(model):
    parts = sequences(40, 7, 25, 18)
    losses = {}
    for order in ([0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0]):
        row = fill_row([parts[i] for i in order], 100, supervise_all=True)
        by_token = token_losses(model, collate([row]))[0]
        end = 0
        for i in order:
            start, end = end, end + len(parts[i].ids)
            losses.setdefault(i, []).append(by_token[start:end].sum().item())
    for found in losses.values():
        assert found == pytest.approx([found[0]] * 3, abs=1e-3)


def test_gradients_of_a_packed_row_are_those_of_a_padded_batch(model):
    parts = sequences(30, 12, 22)

    def gradient(*batches: list[TaskSequence]) -> torch.Tensor:
        model.zero_grad()
        count = sum(len(part.ids) - part.answer_start for part in parts)
        for batch in batches:
            inputs = collate([fill_row(batch, 64, supervise_all=False)])
            model(**inputs, num_items_in_batch=count).loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    alone = gradient(*([part] for part in parts))
    torch.testing.assert_close(gradient(parts), alone, atol=1e-6, rtol=1e-4)


def test_a_row_without_labels_has_loss_zero_and_finite_gradients(model):
    inputs = collate([fill_row([], 32, supervise_all=True)])
    model.zero_grad()
    loss = model(**inputs).loss
    loss.backward()
    assert loss.item() == 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_boundaries_are_those_that_the_mask_of_sdpa_sees():
    rows = [
        fill_row(sequences(20, 9, seed=1), 40, supervise_all=True),
        fill_row(sequences(40, seed=2), 40, supervise_all=True),
    ]
    batch = collate(rows)
    assert batch["cu_seq_lens_q"].tolist() == batch["cu_seq_lens_k"].tolist() == [0, 20, 29, 40, 80]
    assert batch["max_length_q"] == batch["max_length_k"] == 40
    by_sequence, masked = (
        with_packed_loss(new_model("tiny", 0, attn_implementation=name)) for name in ATTENTIONS
    )
    expected = masked(**batch).loss
    got = by_sequence(**batch).loss
    torch.testing.assert_close(got, expected)
    got.backward()
    expected.backward()
    for ours, theirs in zip(by_sequence.parameters(), masked.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-4)
