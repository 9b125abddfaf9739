"""Training: resumes to the last digit, saves whole checkpoints or none, says what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, Qwen3ForCausalLM, TrainerCallback

from gpa.runtime.errors import UserError
from gpa.tokenize.shards import Provenance, write_index
from gpa.train.command import build, describe, prepare, train
from gpa.train.config import TrainConfig
from gpa.train.loss import summed_loss
from gpa.train.metrics import read_metrics
from gpa.train.packing import collate
from gpa.train.trainer import GPATrainer, checkpoints


@pytest.fixture(scope="module")
def shards(make_shards, tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("tokens"), 24)


@pytest.fixture(scope="module")
def whole_run(shards, tmp_path_factory) -> Path:
    """Four steps of `pretrain`, never stopped."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(prepare(small(), model="tiny", phase="pretrain", tokens=shards.folder, out=out))
    return out


def small(**changes) -> TrainConfig:
    """A run of four small steps of the tiny model."""
    phases = {
        phase: {
            "supervise": supervise,
            "steps": {"tiny": 4, "0.3b": 4},
            "learning_rate": {"tiny": 3e-3, "0.3b": 1e-3},
            "warmup_share": 0.25,
        }
        for phase, supervise in (("pretrain", "all"), ("sft", "answer"))
    }
    return TrainConfig.model_validate(
        {
            "held_back_share": 0.25,
            "evaluate_every_steps": 2,
            "save_every_steps": 2,
            "keep_checkpoints": 2,
            "loader_workers": 0,
            "batches": {"tiny": {"row_tokens": 128, "rows_per_step": 2, "rows_at_once": 1}},
            "phases": phases,
        }
        | changes
    )


class StopAfter(TrainerCallback):
    """Ends a run as a kill would, right after a checkpoint."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_training_stop = True


def test_a_run_that_was_stopped_ends_like_one_that_was_not(shards, whole_run, tmp_path):
    out = tmp_path / "stopped"
    where = {"model": "tiny", "phase": "pretrain", "tokens": shards.folder, "out": out}
    run = prepare(small(), **where, steps=None, checkpoint=None, resume=False)
    trainer = build(run)
    trainer.add_callback(StopAfter(2))
    trainer.train()
    assert [path.name for path in checkpoints(out)] == ["checkpoint-2"]

    last = train(prepare(small(), **where, resume=True))
    assert read_metrics(out / "metrics.jsonl") == read_metrics(whole_run / "metrics.jsonl")
    weights, expected = (
        load_file(folder / "checkpoint-4" / "model.safetensors") for folder in (out, whole_run)
    )
    assert last == out / "checkpoint-4"
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_resuming_a_finished_run_changes_nothing(shards, whole_run):
    before = read_metrics(whole_run / "metrics.jsonl")
    where = {"model": "tiny", "phase": "pretrain", "tokens": shards.folder, "out": whole_run}
    assert train(prepare(small(), **where, resume=True)) == whole_run / "checkpoint-4"
    assert read_metrics(whole_run / "metrics.jsonl") == before


@pytest.mark.parametrize(
    ("option", "within"),
    [
        ({"loader_workers": 2}, 0),
        ({"activation_checkpointing": True}, 1e-5),
        ({"attention": "sdpa"}, 1e-5),
        ({"precision": "bf16"}, 0.1),
    ],
)
def test_options_that_only_cost_or_save_time_do_not_change_the_loss(
    shards, whole_run, tmp_path, option, within
):
    batch = {"row_tokens": 128, "rows_per_step": 2, "rows_at_once": 1}
    if "activation_checkpointing" in option:
        option = {"batches": {"tiny": batch | option}}
    train(
        prepare(
            small(**option),
            model="tiny",
            phase="pretrain",
            tokens=shards.folder,
            out=tmp_path,
            steps=1,
        )
    )
    first, expected = (read_metrics(run / "metrics.jsonl")[0] for run in (tmp_path, whole_run))
    assert first["loss"] == pytest.approx(expected["loss"], abs=within)


def test_a_run_writes_its_curves_and_names_its_data(shards, whole_run):
    lines = read_metrics(whole_run / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    for task in ("asr", "tts", "vc"):
        assert [line["step"] for line in lines if f"eval_{task}_loss" in line] == [2, 4]
    assert (whole_run / "loss.png").stat().st_size > 5_000
    state = json.loads((whole_run / "checkpoint-4" / "trainer_state.json").read_text())
    assert state["stateful_callbacks"]["DataIdentity"]["args"]["data"] == shards.fingerprint


def test_losses_are_those_of_before_there_were_other_phases(shards, whole_run, tmp_path):
    where = {"model": "tiny", "phase": "sft", "tokens": shards.folder, "out": tmp_path}
    train(prepare(small(), **where, steps=1, checkpoint=whole_run / "checkpoint-4"))
    pretrain, sft = (
        [line["loss"] for line in read_metrics(out / "metrics.jsonl") if "loss" in line]
        for out in (whole_run, tmp_path)
    )
    assert pretrain == pytest.approx([12.6064, 12.4785, 12.3217, 11.9675], abs=1e-3)
    assert sft == pytest.approx([10.6100], abs=1e-3)


def test_a_checkpoint_is_a_plain_transformers_model(whole_run):
    folder = whole_run / "checkpoint-4"
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["Qwen3ForCausalLM"]
    model = Qwen3ForCausalLM.from_pretrained(folder)
    made = model.generate(torch.tensor([[151675, 151676]]), max_new_tokens=3, do_sample=False)
    assert made.shape == (1, 5)
    assert len(AutoTokenizer.from_pretrained(folder)) == 180_445


def test_evaluation_losses_are_means_over_tokens(shards, whole_run):
    model = Qwen3ForCausalLM.from_pretrained(whole_run / "checkpoint-4").eval()
    run = prepare(
        small(),
        model="tiny",
        phase="pretrain",
        tokens=shards.folder,
        out=whole_run / "other",
        steps=None,
        checkpoint=None,
        resume=False,
    )
    rows = build(run).eval_dataset["tts"]
    assert len(rows) > 1
    with torch.no_grad():
        inputs = collate([rows[number] for number in range(len(rows))])
        labels = inputs.pop("labels")
        hidden = model.model(**inputs, use_cache=False).last_hidden_state
        total, count = summed_loss(hidden, model.lm_head.weight, labels)
    logged = read_metrics(whole_run / "metrics.jsonl")
    found = [line["eval_tts_loss"] for line in logged if "eval_tts_loss" in line]
    assert found[-1] == pytest.approx(float(total / count), abs=1e-5)


def test_held_back_speakers_are_never_in_a_training_row(shards, tmp_path):
    where = {"model": "tiny", "phase": "pretrain", "tokens": shards.folder, "out": tmp_path}
    run = prepare(small(), **where, steps=50, checkpoint=None, resume=False)
    speaker = shards.table(["speaker"])["speaker"].to_pylist()
    catalogue = run.rows.mixture.catalogue
    held = {speaker[row] for row in catalogue.rows[: catalogue.held_back]}
    drawn = {
        speaker[utterance]
        for number in range(len(run.rows))
        for draw in run.rows.draws(number)
        for utterance in (draw.source, draw.target, draw.reference)
    }
    assert held
    assert not held & drawn


def test_fine_tuning_starts_from_a_checkpoint(shards, whole_run, tmp_path):
    checkpoint = whole_run / "checkpoint-4"
    where = {"model": "tiny", "phase": "sft", "tokens": shards.folder, "out": tmp_path / "sft"}
    with pytest.raises(UserError, match="starts from a checkpoint"):
        train(prepare(small(), **where))
    run = prepare(small(), **where, steps=1, checkpoint=checkpoint, resume=False)
    weights = build(run).model.state_dict()
    saved = load_file(checkpoint / "model.safetensors")
    assert all(torch.equal(weights[name], saved[name]) for name in saved)


def test_what_is_about_to_happen_is_said_first(make_shards, tmp_path):
    shards = make_shards(tmp_path / "tokens", 24, trained=False)
    where = {"model": "tiny", "phase": "pretrain", "tokens": shards.folder, "out": tmp_path / "o"}
    run = prepare(small(), **where, steps=7, checkpoint=None, resume=False)
    said = "\n".join(describe(run))
    for part in ("11,8", "7 steps", "18 utterances", "256 tokens in 2 rows", "untrained codec"):
        assert part in said


def refused(tmp_path, shards, config=None, **changes) -> str:
    where = {
        "model": "tiny",
        "phase": "pretrain",
        "tokens": shards.folder,
        "out": tmp_path / "out",
    }
    with pytest.raises(UserError) as raised:
        train(prepare(config or small(), **(where | changes)))
    assert not checkpoints(tmp_path / "out")
    message = str(raised.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_bad_input_is_refused_in_one_sentence(tmp_path, shards, whole_run):
    empty = tmp_path / "empty"
    empty.mkdir()
    cases = [
        ({"model": "7b"}, "no MODEL '7b'"),
        ({"phase": "rl"}, "no PHASE 'rl'"),
        ({"steps": 0}, "STEPS=0 trains nothing"),
        ({"tokens": empty}, "holds no token shards"),
        ({"out": whole_run}, "already holds checkpoint-4"),
        ({"model": "0.3b"}, "no entry for 0.3b"),
        ({"checkpoint": empty}, "holds no checkpoint"),
    ]
    for changes, expected in cases:
        assert expected in refused(tmp_path, shards, **changes)


def test_a_checkpoint_of_another_size_is_refused(tmp_path, shards, whole_run):
    config = small(batches={"0.3b": {"row_tokens": 128, "rows_per_step": 1, "rows_at_once": 1}})
    checkpoint = whole_run / "checkpoint-4"
    message = refused(tmp_path, shards, config, model="0.3b", checkpoint=checkpoint)
    assert "is no 0.3b model" in message


def test_shards_of_another_vocabulary_are_refused(tmp_path, shards):
    folder = tmp_path / "tokens"
    folder.mkdir()
    write_index(folder, shards.index.to_pylist(), Provenance("other", "b", "g", True))
    assert "another vocabulary" in refused(tmp_path, shards, tokens=folder)


def test_rows_that_do_not_divide_among_steps_are_refused(tmp_path, shards):
    config = small(batches={"tiny": {"row_tokens": 128, "rows_per_step": 3, "rows_at_once": 2}})
    assert "must be a multiple" in refused(tmp_path, shards, config)


def test_a_run_is_not_resumed_with_other_data(make_shards, whole_run, tmp_path):
    other = make_shards(tmp_path / "tokens", 20)
    where = {"model": "tiny", "phase": "pretrain", "tokens": other.folder, "out": whole_run}
    with pytest.raises(UserError, match="trained with another data"):
        train(prepare(small(), **where, resume=True))


def test_what_was_being_written_is_not_taken_for_a_checkpoint(whole_run):
    half = whole_run / GPATrainer.UNFINISHED / "checkpoint-6"
    half.mkdir(parents=True)
    (half / "trainer_state.json").write_text("{}")
    assert checkpoints(whole_run)[-1].name == "checkpoint-4"


FULL_DISK = """
import resource, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_command import small
from gpa.runtime.errors import UserError
from gpa.train.command import prepare, train
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000_000, 30_000_000))
try:
    train(prepare(small(), model="tiny", phase="pretrain", tokens=Path({tokens!r}), out=Path({out!r})))
except UserError as error:
    print("REFUSED", error)
"""


def test_a_full_disk_leaves_no_half_checkpoint(shards, tmp_path):
    # The limit on the size of a file stands for the disk: writing the weights fails half way.
    script = FULL_DISK.format(
        tests=str(Path(__file__).parent), tokens=str(shards.folder), out=str(tmp_path / "out")
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False
    )
    assert "REFUSED Checkpoint checkpoint-2 could not be written" in done.stdout, done.stderr
    assert not list((tmp_path / "out").rglob("model.safetensors"))
    assert not checkpoints(tmp_path / "out")
