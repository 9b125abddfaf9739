"""Adapters: weights stay, a stopped run goes on exactly, and merged they are the same model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gpa.runtime import cli
from gpa.runtime.errors import UserError
from gpa.train.command import build, prepare, train
from gpa.train.config import TrainConfig
from gpa.train.metrics import read_metrics
from gpa.train.sizes import load_model, new_model
from gpa.train.trainer import checkpoints
from tests.train.test_command import StopAfter, small


@pytest.fixture(scope="module")
def where(make_shards, tmp_path_factory) -> dict:
    """What all runs share: the data, and a checkpoint of fresh weights."""
    folder = tmp_path_factory.mktemp("lora")
    new_model("tiny", seed=0).save_pretrained(folder / "start")
    return {
        "model": "tiny",
        "phase": "sft",
        "tokens": make_shards(folder / "tokens", 24).folder,
        "checkpoint": folder / "start",
    }


def lora(phase: str = "sft") -> TrainConfig:
    """Two steps of adapters of rank 2 in two kinds of layers."""
    config = small(save_every_steps=1, held_back_share=0).model_dump()
    config["phases"][phase] |= {
        "steps": {"tiny": 2},
        "lora": {"rank": 2, "layers": ["q_proj", "up_proj"]},
    }
    return TrainConfig.model_validate(config)


@pytest.fixture(scope="module")
def whole_run(where, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    train(prepare(lora(), **where, out=out))
    return out


def test_a_checkpoint_holds_the_adapters_alone(whole_run):
    saved = load_file(whole_run / "checkpoint-2" / "adapter_model.safetensors")
    # Two matrices of two layers in each of four blocks.
    assert len(saved) == 2 * 2 * 4
    assert all("q_proj" in name or "up_proj" in name for name in saved)
    assert any(value.abs().max() > 0 for name, value in saved.items() if "lora_B" in name)
    assert not (whole_run / "checkpoint-2" / "model.safetensors").exists()


def test_a_stopped_run_ends_like_one_that_was_not(where, whole_run, tmp_path):
    trainer = build(prepare(lora(), **where, out=tmp_path, steps=None, resume=False))
    trainer.add_callback(StopAfter(1))
    trainer.train()
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-1"]
    train(prepare(lora(), **(where | {"checkpoint": None}), out=tmp_path, resume=True))
    assert read_metrics(tmp_path / "metrics.jsonl") == read_metrics(whole_run / "metrics.jsonl")
    found, expected = (
        load_file(run / "checkpoint-2" / "adapter_model.safetensors")
        for run in (tmp_path, whole_run)
    )
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_merged_it_is_the_same_model(where, whole_run, tmp_path, monkeypatch):
    checkpoint = whole_run / "checkpoint-2"
    monkeypatch.setattr("sys.argv", ["gpa", "merge", str(checkpoint), str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 0
    ids = torch.arange(1, 20)[None]
    with torch.no_grad():
        start, adapted, merged = (
            load_model("tiny", folder).eval()(input_ids=ids).logits
            for folder in (where["checkpoint"], checkpoint, tmp_path)
        )
    assert torch.equal(adapted, merged)
    assert not torch.allclose(adapted, start, atol=1e-4)


def test_adapters_are_for_fine_tuning_whole_weights(where, whole_run, tmp_path):
    with pytest.raises(UserError, match="adapters of `sft`"):
        train(prepare(lora("pretrain"), **(where | {"phase": "pretrain"}), out=tmp_path))
    with pytest.raises(UserError, match="merge the checkpoint first"):
        train(prepare(lora(), **(where | {"checkpoint": whole_run / "checkpoint-2"}), out=tmp_path))
