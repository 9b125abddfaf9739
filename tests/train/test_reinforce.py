"""Reinforcement: what pays better grows likelier, and a stopped run ends like one that was not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gpa.runtime.errors import UserError
from gpa.tokenize.sequences import TaskSequence
from gpa.tokenize.vocabulary import TEXT
from gpa.train.command import build, prepare, train
from gpa.train.config import TrainConfig
from gpa.train.generation.decoding import Legal
from gpa.train.metrics import read_metrics
from gpa.train.packing import collate, fill_row
from gpa.train.reinforce import answering, log_probabilities
from gpa.train.sizes import new_model
from gpa.train.trainer import checkpoints
from tests.train.test_command import StopAfter


@pytest.fixture(scope="module")
def shards(make_shards, tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("tokens"), 24)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """A checkpoint of fresh weights."""
    folder = tmp_path_factory.mktemp("start")
    new_model("tiny", seed=0).save_pretrained(folder)
    return folder


def config(**reinforce) -> TrainConfig:
    """Two small steps, each of one row's prompts and four answers of at most six tokens."""
    phase = {
        "supervise": "answer",
        "mixture": {"tasks": {"asr": 1}},
        "steps": {"tiny": 2},
        "learning_rate": {"tiny": 1e-3},
        "weight_decay": 0,
    }
    return TrainConfig.model_validate(
        {
            "held_back_share": 0.25,
            "evaluate_every_steps": 1,
            "save_every_steps": 1,
            "loader_workers": 0,
            "batches": {"tiny": {"row_tokens": 256, "rows_per_step": 8, "rows_at_once": 2}},
            "phases": {"reinforce": phase},
            "reinforce": {"answers": 4, "asr_tokens": 6, "speech_tokens": 6} | reinforce,
        }
    )


def where(shards, start, out) -> dict:
    return {
        "model": "tiny",
        "phase": "reinforce",
        "tokens": shards.folder,
        "checkpoint": start,
        "out": out,
    }


def made(shards, start, out, steps=2, **reinforce):
    """A trainer that neither evaluates nor saves."""
    run = prepare(config(**reinforce), **where(shards, start, out), steps=steps, resume=False)
    trainer = build(run)
    trainer.args.eval_strategy, trainer.args.save_strategy = "no", "no"
    trainer.args.eval_on_start = False
    return trainer


@pytest.fixture(scope="module")
def whole_run(shards, start, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(prepare(config(), **where(shards, start, out)))
    return out


def test_a_stopped_run_ends_like_one_that_was_not(shards, start, whole_run, tmp_path):
    run = prepare(config(), **where(shards, start, tmp_path), steps=None, resume=False)
    trainer = build(run)
    trainer.add_callback(StopAfter(1))
    trainer.train()
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-1"]
    train(prepare(config(), **where(shards, start, tmp_path), resume=True))
    assert read_metrics(tmp_path / "metrics.jsonl") == read_metrics(whole_run / "metrics.jsonl")
    weights, expected = (
        load_file(folder / "checkpoint-2" / "model.safetensors") for folder in (tmp_path, whole_run)
    )
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_rewards_are_logged_and_evaluated_from_before_the_first_step(whole_run):
    lines = read_metrics(whole_run / "metrics.jsonl")
    assert [line["step"] for line in lines if "eval_asr_error_rate" in line] == [0, 1, 2]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2]
    for line in steps:
        assert line["asr_reward"] == -line["asr_error_rate"]
        assert line["asr_reward_spread"] >= 0
        assert 0 <= line["asr_reward_left_out"] <= 1
    assert (whole_run / "loss.png").stat().st_size > 5_000


def test_log_probabilities_are_those_of_the_decoder_that_drew(shards, start, tmp_path, vocabulary):
    """Among legal tokens alone, any end being the same: what a row says is what was drawn from."""
    trainer = made(shards, start, tmp_path)
    model, legal = trainer.network, Legal.of("asr", vocabulary.structure)
    prompts = [trainer._sequence(draw).prompt for draw in trainer.rows[0]]
    answers = [[5, 6, 7], [8, TEXT.size]]
    sequences, expected = [], []
    for prompt, answer in zip(prompts, answers, strict=False):
        ids = [legal.ends[0] if code == TEXT.size else code for code in answer]
        sequences.append(TaskSequence(np.append(prompt, ids).astype(np.int32), len(prompt)))
        with answering(model) as engine, torch.no_grad():
            whole = torch.from_numpy(sequences[-1].ids).long()[None]
            hidden = engine._model.model(input_ids=whole, use_cache=False).last_hidden_state[0]
            states = hidden[len(prompt) - 1 : -1]
            scores = torch.cat(legal.scores(states, model.lm_head.weight), dim=1)
        for row, code in zip(scores.softmax(dim=1), answer, strict=True):
            expected.append(row[code:].sum() if code == TEXT.size else row[code])
    batch = collate([fill_row([sequence], 256, False) for sequence in sequences])
    found = log_probabilities(model, legal, batch)
    torch.testing.assert_close(found, torch.stack(expected).log(), atol=1e-4, rtol=0)


def test_what_pays_better_than_its_group_grows_likelier(shards, start, tmp_path):
    """An answer is paid for beginning with an even code; one small step down the gradient."""
    trainer = made(shards, start, tmp_path, answers=8, asr_tokens=3)
    trainer.measure = lambda task, draws, answers: {
        "reward": np.array([float(bool(answer) and answer[0] % 2 == 0) for answer in answers])
    }
    draws = trainer.rows[0]
    rows = trainer._rows(trainer._rewarded("asr", draws))
    advantage = torch.tensor(
        [each.advantage for row in rows for each in row for _ in range(each.length)]
    )
    batch = collate([fill_row([each.sequence for each in row], 256, False) for row in rows])
    legal = Legal.of("asr", trainer.vocabulary.structure)
    before = log_probabilities(trainer.network, legal, batch)
    trainer.training_step(trainer.network, draws)
    with torch.no_grad():
        for weight in trainer.network.parameters():
            weight -= 0.1 * weight.grad
    moved = (log_probabilities(trainer.network, legal, batch) - before).detach()
    assert advantage.unique().numel() > 1
    assert moved[advantage > 0].mean() > 1e-4
    assert moved[advantage < 0].mean() < moved[advantage > 0].mean()
    assert (advantage * moved).sum() > 0


def test_groups_without_spread_are_counted_and_change_nothing(shards, start, tmp_path):
    trainer = made(shards, start, tmp_path)
    trainer.measure = lambda task, draws, answers: {"reward": np.ones(len(answers))}
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.train()
    assert trainer.measured["asr_reward_left_out"] == 1
    after = trainer.network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_divergence_from_the_start_is_part_of_the_loss(shards, start, tmp_path):
    """At the start there is none; elsewhere it is above 0, whatever was drawn."""
    trainer = made(shards, start, tmp_path, kl=1.0)
    rows = trainer._rows(trainer._rewarded("asr", trainer.rows[0]))
    legal = Legal.of("asr", trainer.vocabulary.structure)
    held = trainer._loss(legal, rows)
    with torch.no_grad():
        for weight in trainer.start.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=torch.manual_seed(0))
    apart = trainer._loss(legal, rows)
    trainer.start = None
    alone = trainer._loss(legal, rows)
    assert held.item() == pytest.approx(alone.item(), abs=1e-3)
    assert apart.item() > alone.item() + 0.1


def test_it_starts_from_a_checkpoint_in_one_process(shards, start, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="PHASE=reinforce starts from a checkpoint"):
        train(prepare(config(), **where(shards, None, tmp_path)))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="runs in one process"):
        made(shards, start, tmp_path)
