"""`gpa train`: check everything, say what is about to happen, train.

On several GPUs the same command runs under torchrun (docs/training.md). `rows_per_step` counts
rows over all processes, so that the same config gives the same steps on one GPU and on many.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch
from transformers.trainer_callback import ProgressCallback

from gpa.runtime.config import digest, parse, read_yaml
from gpa.runtime.errors import UserError
from gpa.tokenize.shards import VOCABULARY, TokenShards
from gpa.tokenize.vocabulary import VOCABULARY_SIZE, Vocabulary
from gpa.train.attention import best_attention
from gpa.train.catalogue import Catalogue, Numbers, numbers_of
from gpa.train.config import Phase, TrainConfig
from gpa.train.data import EvaluationRows, PackedRows, evaluated, packing_efficiency
from gpa.train.loss import CHUNK_TOKENS, with_packed_loss
from gpa.train.metrics import LossBar, MetricsFile, draw_losses
from gpa.train.mixture import BEGINNING, Mixture
from gpa.train.packing import collate
from gpa.train.reinforce import PromptRows, ReinforceTrainer
from gpa.train.sizes import (
    SHAPES,
    Size,
    add_adapters,
    base_of,
    check_size,
    load_model,
    model_config,
    new_model,
    parameter_count,
)
from gpa.train.trainer import (
    DataIdentity,
    DataPlace,
    GPATrainer,
    check_identity,
    checkpoints,
    last_checkpoint,
    read_place,
    read_step,
    token_mean,
    training_arguments,
)

# float32 weights and Adam's two moments in a checkpoint; gradients besides in memory.
CHECKPOINT_BYTES = 12
TRAINING_BYTES = 16


@dataclass(frozen=True)
class Run:
    """Everything that a run is made of, checked before a weight is allocated."""

    config: TrainConfig
    size: Size
    phase: Phase
    steps: int
    out: Path
    shards: TokenShards
    vocabulary: Vocabulary
    rows: PackedRows
    # Weights to start from, and the checkpoint of this very run to go on from.
    start: Path | None
    resume: Path | None
    identity: dict[str, str]


def read_config(file: Path) -> TrainConfig:
    """The section `train`; raises UserError."""
    return parse(TrainConfig, read_yaml(file).get("train"), f"{file}, section train")


def use_all_cores() -> None:
    """Share this machine's cores among its training processes; curation's workers take one each."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // processes))


def train(run: Run, say: Callable[[str], None] = print) -> Path:
    """Train one phase; returns the last checkpoint. Raises UserError where a disk is full."""
    first = int(os.environ.get("RANK", "0")) == 0
    if first:
        for line in describe(run):
            say(line)
    try:
        trainer = build(run)
        trainer.train(resume_from_checkpoint=str(run.resume) if run.resume else None)
        if trainer.is_world_process_zero():
            draw_losses(run.out)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise UserError(
            f"The disk of {run.out} is full; free some and go on with RESUME=1."
        ) from error
    last = checkpoints(run.out)[-1]
    if first:
        say(f"Checkpoint   {last}")
    return last


def prepare(
    config: TrainConfig,
    *,
    model: str,
    phase: str,
    tokens: Path,
    out: Path,
    steps: int | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> Run:
    """Check data, sizes, checkpoints and disk, and plan the rows.

    `tokens` is a folder of token shards, `steps` overrides the phase's own, `checkpoint` is what
    to start from (fine-tuning needs one). With `resume` the run in `out` goes on where it
    stopped. Raises UserError for whatever is wrong, before a step is spent where it can be known.
    """
    model_config(model)
    size = cast(Size, model)
    if phase not in config.phases:
        raise UserError(f"There is no PHASE {phase!r}; choose {' or '.join(config.phases)}.")
    settings = config.phases[phase]
    for section, named in (
        ("batches", config.batches),
        (f"phases.{phase}.learning_rate", settings.learning_rate),
        (f"phases.{phase}.steps", settings.steps),
    ):
        if size not in named:
            raise UserError(f"train.{section} in pipelines.yaml has no entry for {size}; add one.")
    steps = settings.steps[size] if steps is None else steps
    if steps < 1:
        raise UserError(f"STEPS={steps} trains nothing; give at least 1.")

    going_on = last_checkpoint(out, resume)
    holds = phase == "reinforce" and config.reinforce.kl > 0
    if phase != "pretrain" and checkpoint is None and (holds or going_on is None):
        raise UserError(f"PHASE={phase} starts from a checkpoint; name one with CHECKPOINT=...")
    for folder in (going_on, checkpoint):
        if folder is not None:
            check_size(size, folder)

    vocabulary = Vocabulary.beside(checkpoint or tokens / VOCABULARY)
    if settings.lora and (phase != "sft" or (checkpoint and base_of(checkpoint))):
        raise UserError(
            f"train.phases.{phase}.lora trains adapters of `sft`, beside whole weights; leave it out, "
            "or merge the checkpoint first with `gpa merge`."
        )
    shards = TokenShards(tokens)
    shards.provenance.check_vocabulary(vocabulary.text_digest, str(tokens))
    if not len(shards):
        raise UserError(f"The token shards in {tokens} hold no utterance; curate more audio.")

    batch = config.batches[size]
    if phase == "reinforce":
        batch = batch.model_copy(update={"rows_per_step": config.reinforce.rows_per_step})
        config = config.model_copy(update={"batches": {size: batch}})
    catalogue = Catalogue(shards, config.held_back_share)
    mixture = Mixture(settings.mixture, catalogue, batch.row_tokens, config.seed)
    if config.vc_pairs:
        mixture = replace(mixture, pairs=read_pairs(config.vc_pairs, shards, catalogue))
    _check_disk(out, size, config.keep_checkpoints)
    identity = {
        "model": size,
        "phase": phase,
        "data": shards.fingerprint,
        "vocabulary": vocabulary.digest,
        "steps": str(steps),
        "config": digest(
            [
                settings.model_dump(mode="json", exclude={"steps"}, exclude_none=True),
                batch.model_dump(mode="json", include={"row_tokens", "rows_per_step"}),
                config.model_dump(mode="json", include={"seed", "held_back_share", "vc_pairs"}),
                *([config.reinforce.model_dump(mode="json")] if phase == "reinforce" else []),
            ]
        ),
    }
    if going_on:
        check_identity(going_on, identity)
    rows = (PromptRows if phase == "reinforce" else PackedRows)(
        shards,
        vocabulary.structure,
        mixture,
        steps * batch.rows_per_step,
        settings.supervise == "all",
        start=read_place(going_on) if going_on else BEGINNING,
        first=read_step(going_on) * batch.rows_per_step if going_on else 0,
    )
    return Run(
        config=config,
        size=size,
        phase=phase,
        steps=steps,
        out=out,
        shards=shards,
        vocabulary=vocabulary,
        rows=rows,
        start=checkpoint,
        resume=going_on,
        identity=identity,
    )


def describe(run: Run) -> list[str]:
    """What is about to happen, in lines for a person; also measures the packing."""
    batch, mixture = run.config.batches[run.size], run.rows.mixture
    settings = run.config.phases[run.phase]
    parameters = parameter_count(run.size)
    efficiency = packing_efficiency(run.rows)
    step_tokens = batch.rows_per_step * batch.row_tokens
    catalogue = mixture.catalogue
    once = sum(found.tokens for found in mixture.tasks.values())
    hours = float(np.sum(run.shards.index["duration_s"].to_numpy())) / 3600
    evaluated_on = len(evaluated(catalogue))
    lines = [
        f"Model        {run.size}: {parameters:,} parameters, "
        + (
            f"going on from {run.resume}"
            if run.resume
            else f"from {run.start}"
            if run.start
            else f"fresh weights of seed {run.config.seed}"
        ),
        f"Phase        {run.phase}: {run.steps:,} steps, {settings.supervise} supervised, "
        f"learning rate {settings.learning_rate[run.size]:g}",
        f"Data         {run.shards.folder} ({run.shards.fingerprint}): {catalogue.trained:,} "
        f"utterances, {hours:,.2f} h with those held back, {once:,} tokens in all tasks",
    ]
    if not run.shards.provenance.trained:
        lines.append(
            "             WARNING: these tokens come from an untrained codec; they try the chain "
            "and carry no speech"
        )
    for task, found in mixture.tasks.items():
        share = settings.mixture.tasks[task] / sum(settings.mixture.tasks.values())
        why = "without another of their speaker or " if task == "tts_continued" else ""
        dropped = f", {found.too_long:,} {why}longer than a row dropped" if found.too_long else ""
        lines.append(
            f"  {task + ' ':<11}{share:.0%} of the tokens, {found.sequences:,} sequences{dropped}"
        )
    if settings.lora:
        lines.append(f"LoRA         rank {settings.lora.rank} of {', '.join(settings.lora.layers)}")
    if run.phase == "reinforce":
        lines.append(
            f"Answers      {run.config.reinforce.answers} to each prompt, drawn at temperature 1"
        )
    lines += [
        f"References   {catalogue.own_references:,} utterances have no other of their speaker and "
        "are their own",
        f"Held back    {catalogue.held_back:,} utterances of {catalogue.held_speakers:,} speakers, "
        f"{evaluated_on:,} of them for evaluation",
        f"A step       {step_tokens:,} tokens in {batch.rows_per_step} rows of "
        f"{batch.row_tokens:,}, {efficiency:.1%} of them useful; in all "
        f"{run.steps * step_tokens * efficiency / max(1, once):.1f} times the data",
        f"Memory       about {memory_bytes(run.size, run.config) / 2**30:.1f} GiB a process",
        f"Checkpoints  every {run.config.save_every_steps:,} steps to {run.out}, the last "
        f"{run.config.keep_checkpoints} kept, {parameters * CHECKPOINT_BYTES / 2**30:.1f} GiB each",
    ]
    return lines


def build(run: Run) -> GPATrainer:
    """Allocate the model, and hand all to the trainer."""
    attention = run.config.attention
    options: dict[str, Any] = {
        "attn_implementation": best_attention() if attention == "auto" else attention
    }
    lora = run.config.phases[run.phase].lora
    # When a run goes on, the Trainer reads the weights itself, but not those beside adapters.
    start = base_of(run.resume) if lora and run.resume else None if run.resume else run.start
    network = (
        load_model(run.size, start, **options)
        if start
        else new_model(run.size, run.config.seed, **options)
    )
    if lora and start:
        add_adapters(network, lora.rank, lora.layers, start, run.config.seed)
    mixture, structure = run.rows.mixture, run.vocabulary.structure
    positions = evaluated(mixture.catalogue)
    evaluation = {
        str(task): EvaluationRows(
            task,
            run.shards,
            structure,
            mixture.catalogue,
            positions,
            mixture.row_tokens,
            run.config.seed,
        )
        for task in mixture.tasks
    }
    evaluation = {task: rows for task, rows in evaluation.items() if len(rows)}
    shutil.rmtree(run.out / GPATrainer.UNFINISHED, ignore_errors=True)
    reinforced = run.phase == "reinforce"
    kind: Callable[..., GPATrainer] = GPATrainer
    if reinforced:
        kind = partial(ReinforceTrainer, run.config, run.size, run.vocabulary, run.start)
    trainer = kind(
        run.rows,
        run.out,
        run.config.keep_checkpoints,
        model=with_packed_loss(network),
        args=training_arguments(
            run.config, run.size, run.phase, run.steps, run.out, bool(evaluation)
        ),
        eval_dataset=evaluation or None,
        data_collator=collate,
        compute_metrics=token_mean,
        processing_class=run.vocabulary.tokenizer,
        callbacks=[
            DataIdentity(**run.identity),
            DataPlace(run.rows, run.config.batches[run.size].rows_per_step),
            MetricsFile(run.out),
        ],
    )
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(LossBar)
    # Before the first step, and not again where a run goes on.
    trainer.args.eval_on_start = reinforced and not run.resume and bool(evaluation)
    return trainer


def memory_bytes(size: Size, config: TrainConfig) -> int:
    """Roughly what training takes on one process without sharding.

    Weights, gradients and Adam's moments; activations kept for the backward pass; one chunk of
    logits and its gradient.
    """
    shape, batch = SHAPES[size], config.batches[size]
    width, layers = shape["hidden_size"], shape["num_hidden_layers"]
    heads = shape["num_attention_heads"] + 2 * shape["num_key_value_heads"]
    layer = 8 * width + 4 * heads * shape["head_dim"] + 4 * shape["intermediate_size"]
    kept = layer + layers * width if batch.activation_checkpointing else layers * layer
    tokens = batch.row_tokens * batch.rows_at_once
    logits = 3 * min(CHUNK_TOKENS, tokens) * VOCABULARY_SIZE
    return TRAINING_BYTES * parameter_count(size) + 4 * (tokens * kept + logits)


def read_pairs(path: Path, shards: TokenShards, catalogue: Catalogue) -> Numbers:
    """Positions (source, target), shape (pairs, 2), of parallel utterances that are trained on.

    The file has the columns source_id and target_id. Raises UserError where it can't be read or
    names an utterance that is not in the shards.
    """
    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else pa.csv.read_csv(path)
        names = [table[side].to_pylist() for side in ("source_id", "target_id")]
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise UserError(
            f"train.vc_pairs: {path} is no Parquet or CSV file with the columns source_id and "
            f"target_id ({error})."
        ) from None
    number_of = numbers_of(shards, [*names[0], *names[1]])
    for name in (*names[0], *names[1]):
        if name not in number_of:
            raise UserError(f"train.vc_pairs: {path} names {name!r}, which has no tokens.")
    numbers = np.array([[number_of[name] for name in side] for side in names], np.int64)
    pairs = catalogue.positions(numbers.T)
    return pairs[(pairs >= catalogue.held_back).all(axis=1)]


def _check_disk(out: Path, size: str, keep: int) -> None:
    """One checkpoint more than is kept is on the disk while it is written."""
    needed = (keep + 1) * CHECKPOINT_BYTES * parameter_count(size)
    needed -= sum(file.stat().st_size for path in checkpoints(out) for file in path.rglob("*"))
    existing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"The disk of {out} has {free / 2**30:.1f} GiB free, and {keep + 1} checkpoints of "
            f"{size} need {needed / 2**30:.1f} GiB more; free some, or lower "
            "train.keep_checkpoints."
        )
