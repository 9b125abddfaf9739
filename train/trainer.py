"""The trainer: transformers' own, taught to save whole checkpoints and to weigh losses by token."""

from __future__ import annotations

import copy
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    Qwen3ForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.integrations import is_tensorboard_available
from transformers.trainer_callback import ExportableState

from gpa.runtime.errors import UserError
from gpa.tokenize.sequences import IGNORED
from gpa.train.config import Phase, TrainConfig
from gpa.train.data import PackedRows
from gpa.train.metrics import model_flops
from gpa.train.mixture import Place
from gpa.train.sizes import Size, base_of


class InOrder(torch.utils.data.Sampler[int]):
    """The numbers of all rows that a run still takes: they are in random order already.

    Its length is that of the whole run, by which the Trainer counts its steps.
    """

    def __init__(self, rows: Any):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rows.first, len(self.rows)))


class WholeCheckpoints(Trainer):
    """transformers' Trainer; a checkpoint is written aside and renamed when it is whole."""

    UNFINISHED = ".unfinished"

    def __init__(self, rows: Any, out: Path, keep: int, **options: Any):
        super().__init__(train_dataset=rows, **options)
        self.rows, self.out, self.keep = rows, out, keep

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler:
        return InOrder(self.rows)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        name = f"checkpoint-{self.state.global_step}"
        aside = Path(self._get_output_dir(trial))
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                _commit(aside / name, self.out / name)
        except (OSError, SafetensorError, RuntimeError) as error:
            shutil.rmtree(aside, ignore_errors=True)
            raise UserError(
                f"Checkpoint {name} could not be written to {self.out} "
                f"({' '.join(str(error).split())[:200]}); free some disk and go on with RESUME=1 "
                "from the last whole one."
            ) from error
        if self.is_world_process_zero():
            for old in checkpoints(self.out)[: -self.keep]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.out / self.UNFINISHED)


class GPATrainer(WholeCheckpoints):
    """A trainer over packed rows; evaluation losses are means over tokens, not over batches."""

    def __init__(self, rows: Any, out: Path, keep: int, **options: Any):
        super().__init__(rows, out, keep, **options)
        self.network: Qwen3ForCausalLM = options["model"]

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[None, Tensor, Tensor]:
        """Sum of the losses of a row's supervised tokens, and their number."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss = model(**inputs).loss
        count = (inputs["labels"][:, 1:] != IGNORED).sum().reshape(1)
        return None, (loss.float() * count).reshape(1), count

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """As the Trainer does, and adapters, which it knows in a wrapped model only."""
        if base_of(Path(resume_from_checkpoint)) is None:
            return super()._load_from_checkpoint(resume_from_checkpoint, model)
        from peft import set_peft_model_state_dict

        saved = load_file(Path(resume_from_checkpoint) / "adapter_model.safetensors")
        named = {name.removeprefix("base_model.model."): value for name, value in saved.items()}
        set_peft_model_state_dict(self.network, named)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """As the Trainer does; beside adapters, too, the config of the model that they are for."""
        super()._save(output_dir, state_dict)
        self.network.config.save_pretrained(output_dir or str(self.args.output_dir))

    def floating_point_ops(self, inputs: dict[str, Tensor | Any]) -> int:
        """Operations of a training step, which the Trainer adds up."""
        return int(model_flops(self.network.config, inputs))


def _commit(aside: Path, final: Path) -> None:
    """Make a written checkpoint the checkpoint, in one rename."""
    for path in aside.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    if final.exists():
        shutil.rmtree(final)
    aside.rename(final)
    aside.parent.rmdir()


def checkpoints(out: Path) -> list[Path]:
    """The whole checkpoints in a run's folder, oldest first."""
    found = [
        path
        for path in out.glob("checkpoint-*")
        if path.name.split("-")[-1].isdigit() and (path / "trainer_state.json").is_file()
    ]
    return sorted(found, key=lambda path: int(path.name.split("-")[-1]))


def last_checkpoint(out: Path, resume: bool) -> Path | None:
    """Where a run goes on, None at its start; raises UserError where another's would be lost."""
    done = checkpoints(out)
    if done and not resume:
        raise UserError(
            f"{out} already holds {done[-1].name} of a run; go on with RESUME=1, or choose "
            "another OUT."
        )
    return done[-1] if done else None


class DataIdentity(TrainerCallback, ExportableState):
    """Writes what a model is trained on into its trainer_state.json."""

    def __init__(self, **identity: str):
        self.identity = identity

    def state(self) -> dict[str, Any]:
        """Names of the data, the vocabulary and the config."""
        return {"args": self.identity, "attributes": {}}


class DataPlace(TrainerCallback, ExportableState):
    """Writes where in its data a run stands into its trainer_state.json.

    It plans for itself what is taken, a step at a time: the loader's workers plan ahead.
    """

    def __init__(self, rows: PackedRows, rows_per_step: int):
        self.rows, self.rows_per_step = copy.copy(rows), rows_per_step
        self.place = rows.start

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on to the row that the next step begins with."""
        following = state.global_step * self.rows_per_step
        if state.is_world_process_zero and following < len(self.rows):
            self.place = self.rows.place(following)

    def state(self) -> dict[str, Any]:
        """The place of the window that the next row is in."""
        return {"args": {}, "attributes": self.place._asdict()}


def read_place(checkpoint: Path) -> Place:
    """Where in its data the run of a checkpoint stood."""
    state = _callbacks(checkpoint)[DataPlace.__name__]["attributes"]
    return Place(state["row"], state["window"], tuple(state["given"]), tuple(state["drawn"]))


def read_step(checkpoint: Path) -> int:
    """How many optimizer steps a checkpoint has had."""
    return json.loads((checkpoint / "trainer_state.json").read_text())["global_step"]


def _callbacks(checkpoint: Path) -> dict[str, Any]:
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    return state.get("stateful_callbacks", {})


def check_identity(checkpoint: Path, identity: Mapping[str, str]) -> None:
    """Raises UserError where a run would go on with other data than it was begun with."""
    begun = _callbacks(checkpoint).get(DataIdentity.__name__, {}).get("args", {})
    for name, now in identity.items():
        if begun.get(name) != now:
            raise UserError(
                f"{checkpoint} was trained with another {name} ({begun.get(name)}, now {now}); a "
                "run is resumed with what it was begun with, or begun in another OUT."
            )


def token_mean(prediction: Any) -> dict[str, float]:
    """Mean loss over the supervised tokens of all rows, 0 where there are none."""
    return {"loss": float(prediction.predictions.sum() / max(1, prediction.label_ids.sum()))}


def training_arguments(
    config: TrainConfig, size: Size, phase: Phase, steps: int, out: Path, evaluate: bool
) -> TrainingArguments:
    """Our config in transformers' words."""
    settings, batch = config.phases[phase], config.batches[size]
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rows_at_once = batch.rows_at_once
    if phase == "reinforce":
        if world > 1:
            raise UserError("PHASE=reinforce runs in one process; start it without torchrun.")
        # Prompts come together, whose answers make rows of their own.
        rows_at_once = batch.rows_per_step
    accumulate, remainder = divmod(batch.rows_per_step, rows_at_once * world)
    if remainder or not accumulate:
        raise UserError(
            f"train.batches.{size}: rows_per_step ({batch.rows_per_step}) must be a multiple of "
            f"rows_at_once ({rows_at_once}) times {world} process(es)."
        )
    bf16 = config.precision == "bf16" or (
        config.precision == "auto"
        and torch.cuda.is_available()
        and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return arguments(
        config,
        steps,
        out,
        settings.warmup_share,
        evaluate,
        per_device_train_batch_size=rows_at_once,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=accumulate,
        learning_rate=settings.learning_rate[size],
        weight_decay=settings.weight_decay,
        adam_beta2=settings.beta2,
        adam_epsilon=settings.adam_epsilon,
        use_cpu=not torch.accelerator.is_available(),
        bf16=bf16,
        torch_compile=config.compile,
        activation_checkpointing=batch.activation_checkpointing and config.sharding != "fsdp",
        include_num_input_tokens_seen="no" if phase == "reinforce" else "non_padding",
        ddp_find_unused_parameters=False,
        label_names=["labels"],
        dataloader_pin_memory=torch.cuda.is_available(),
        dataloader_num_workers=config.loader_workers,
        dataloader_persistent_workers=config.loader_workers > 0,
        **_sharding(config.sharding, batch.activation_checkpointing),
    )


class Paced(Protocol):
    """What configs of training have in common."""

    @property
    def seed(self) -> int: ...
    @property
    def evaluate_every_steps(self) -> int: ...
    @property
    def save_every_steps(self) -> int: ...


def arguments(
    config: Paced, steps: int, out: Path, warmup_share: float, evaluate: bool, **options: Any
) -> TrainingArguments:
    """What holds for every kind of training here, and the options of one kind."""
    return TrainingArguments(
        output_dir=str(out),
        max_steps=steps,
        warmup_steps=math.ceil(warmup_share * steps),
        seed=config.seed,
        eval_strategy="steps" if evaluate else "no",
        # A short run is evaluated at its end.
        eval_steps=min(config.evaluate_every_steps, steps) if evaluate else None,
        save_strategy="steps",
        save_steps=config.save_every_steps,
        # Every step, so that the curve of a resumed run has the very numbers of a whole one.
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=["tensorboard"] if is_tensorboard_available() else [],
        # The rows know where to go on (InOrder); skipping those before would take ever longer.
        ignore_data_skip=True,
        remove_unused_columns=False,
        **{"lr_scheduler_type": "cosine", **options},
    )


def _sharding(sharding: str, recompute: bool) -> dict[str, Any]:
    if sharding == "fsdp":
        return {
            "fsdp": True,
            "fsdp_config": {
                "transformer_layer_cls_to_wrap": ["Qwen3DecoderLayer"],
                # FSDP's own way: the Trainer's would gather the weights once more.
                "activation_checkpointing": recompute,
            },
        }
    if sharding == "zero2":
        return {
            "deepspeed": {
                "zero_optimization": {"stage": 2, "overlap_comm": True},
                "bf16": {"enabled": "auto"},
                "gradient_clipping": "auto",
                "gradient_accumulation_steps": "auto",
                "train_micro_batch_size_per_gpu": "auto",
                "train_batch_size": "auto",
            }
        }
    return {}
