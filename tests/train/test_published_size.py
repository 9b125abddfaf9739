"""The published 0.3B model really trains on a laptop: two steps, with a stop between them."""

from __future__ import annotations

import resource
import time

import pytest
from transformers import TrainerCallback

from gpa.train.command import build, prepare, train
from gpa.train.config import TrainConfig
from gpa.train.metrics import read_metrics
from gpa.train.trainer import checkpoints


class StopAfterOneStep(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = True


@pytest.mark.slow
def test_two_steps_of_0_3b_with_a_resume_between_them(make_shards, tmp_path):
    shards = make_shards(tmp_path / "tokens", 12)
    config = TrainConfig.model_validate(
        {
            "held_back_share": 0,
            "save_every_steps": 1,
            "keep_checkpoints": 1,
            "loader_workers": 0,
            "batches": {"0.3b": {"row_tokens": 256, "rows_per_step": 1, "rows_at_once": 1}},
            "phases": {
                "pretrain": {
                    "supervise": "all",
                    "steps": {"0.3b": 2},
                    "learning_rate": {"0.3b": 1e-4},
                }
            },
        }
    )
    out = tmp_path / "out"
    where = {"model": "0.3b", "phase": "pretrain", "tokens": shards.folder, "out": out}
    trainer = build(prepare(config, **where, steps=None, checkpoint=None, resume=False))
    trainer.add_callback(StopAfterOneStep())
    start = time.perf_counter()
    trainer.train()
    first_s = time.perf_counter() - start
    assert checkpoints(out)[-1].name == "checkpoint-1"
    del trainer

    start = time.perf_counter()
    last = train(prepare(config, **where, resume=True))
    second_s = time.perf_counter() - start
    assert last.name == "checkpoint-2"
    losses = [line["loss"] for line in read_metrics(out / "metrics.jsonl")]
    assert len(losses) == 2
    assert all(10 < loss < 14 for loss in losses)  # around ln 180,445 = 12.1
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"0.3b: {first_s:.0f} s and {second_s:.0f} s a step with saving, peak {peak_gib:.1f} GiB")
    assert peak_gib < 24
