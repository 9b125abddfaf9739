"""What training costs, as ratios measured in one run on one machine.

Packed rows against padded batches, our loop against a bare one, the loader against the model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from gpa.tokenize.sequences import IGNORED, TaskSequence
from gpa.tokenize.shards import (
    Provenance,
    TokenShards,
    Utterance,
    UtteranceTokens,
    write_index,
    write_shard,
)
from gpa.tokenize.vocabulary import PAD, Vocabulary
from gpa.train.command import build, prepare
from gpa.train.data import PackedRows, compose
from gpa.train.loss import with_packed_loss
from gpa.train.packing import collate
from gpa.train.sizes import new_model
from gpa.train.trainer import GPATrainer, TrainConfig

SIZE = "tiny"
ROW_TOKENS = 2048
ROWS = 4
STEPS = 6


@dataclass(frozen=True)
class Measurement:
    """One line of `make bench`: `value` in `unit`, and what it should be at least (None: none)."""

    name: str
    value: float
    unit: str
    at_least: float | None = None


def bench(say: Callable[[str], None] = print) -> list[Measurement]:
    """All measurements on made-up tokens of the lengths of read speech, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with TemporaryDirectory() as scratch:
            shards = made_up_shards(Path(scratch) / "tokens", 600)
            return _measure(shards, Path(scratch), say)
    finally:
        torch.set_num_threads(threads)


def made_up_shards(folder: Path, count: int) -> TokenShards:
    """Token shards of random codes; durations are log-normal, 2 to 25 s with a median of 8 s."""
    rng = np.random.default_rng(0)
    vocabulary = Vocabulary.build()
    folder.mkdir(parents=True)
    utterances = []
    for number in range(count):
        duration_s = float(np.clip(rng.lognormal(np.log(8), 0.6), 2, 25))
        frames = int(50 * duration_s)
        tokens = UtteranceTokens(
            text_tokens=rng.integers(0, 151_643, int(3.5 * duration_s), dtype=np.int32),
            glm_tokens=rng.integers(0, 16_384, -(-frames // 4), dtype=np.uint16),
            semantic_tokens=rng.integers(0, 8_192, frames, dtype=np.uint16),
            global_tokens=rng.integers(0, 4_096, 32, dtype=np.uint16),
        )
        name = f"recording-{number:09d}"
        speaker = f"speaker-{number % 40}"
        utterances.append(Utterance(name, speaker, "en", "made-up", "", duration_s, tokens))
    index = write_shard(folder / "shard-000000.tar", utterances)
    write_index(folder, index, Provenance(vocabulary.text_digest, "none", "none", False))
    return TokenShards(folder)


def _measure(shards: TokenShards, scratch: Path, say: Callable[[str], None]) -> list[Measurement]:
    config = TrainConfig.model_validate(
        {
            "save_every_steps": 10_000,
            "keep_checkpoints": 1,
            "held_back_share": 0,
            "loader_workers": 0,
            "batches": {SIZE: {"row_tokens": ROW_TOKENS, "rows_per_step": 1, "rows_at_once": 1}},
            "phases": {
                "pretrain": {"supervise": "answer", "steps": STEPS, "learning_rate": {SIZE: 1e-3}},
            },
        }
    )
    run = prepare(
        config,
        model=SIZE,
        phase="pretrain",
        tokens=shards.folder,
        out=scratch / "run",
        steps=None,
        checkpoint=None,
        resume=False,
    )
    reading = _reading(run.rows)
    packed, padded = _packed_and_padded(run.rows)
    ours, bare = _loops(build(run), run.rows)
    lines = [
        Measurement("packed / padded, useful tokens a second", packed / padded, "x", 2.0),
        Measurement("our loop / bare PyTorch loop, steps a second", ours / bare, "x", 0.97),
        Measurement("loader / model, useful tokens a second", reading / packed, "x", 10.0),
        Measurement("reading and composing", 1e6 / reading, "s per million tokens"),
    ]
    for line in lines:
        aim = f" (aim: at least {line.at_least:g})" if line.at_least else ""
        say(f"{line.name}: {line.value:.3g} {line.unit}{aim}")
    return lines


def _reading(rows: PackedRows) -> float:
    """Useful tokens a second that the loader makes alone, on one core."""
    many = PackedRows(rows.shards, rows.structure, rows.mixture, 300, rows.supervise_all)
    useful, start = 0, time.perf_counter()
    for number in range(len(many)):
        collate([many[number]])
        useful += sum(draw.length for draw in many.draws(number))
    return useful / (time.perf_counter() - start)


def _packed_and_padded(rows: PackedRows) -> tuple[float, float]:
    """Useful tokens a second of forward and backward, the same sequences and the same loss.

    Padded batches have as many sequences as a packed row on average, in random order, and are as
    long as their longest.
    """
    many = PackedRows(rows.shards, rows.structure, rows.mixture, ROWS, rows.supervise_all)
    sequences = [
        compose(rows.shards, rows.structure, draw)
        for number in range(ROWS)
        for draw in many.draws(number)
    ]
    useful = sum(len(sequence.ids) for sequence in sequences)
    order = np.random.default_rng(0).permutation(len(sequences))
    size = -(-len(sequences) // ROWS)
    padded = [
        _pad([sequences[i] for i in order[start : start + size]])
        for start in range(0, len(sequences), size)
    ]
    packed = [collate([many[number]]) for number in range(ROWS)]
    model = with_packed_loss(new_model(SIZE, 0)).train()

    def seconds(batches: Iterable[dict[str, Tensor]]) -> float:
        start = time.perf_counter()
        for batch in batches:
            model.zero_grad()
            model(**batch).loss.backward()
        return time.perf_counter() - start

    seconds(packed[:1])
    return useful / seconds(packed), useful / seconds(padded)


def _pad(sequences: list[TaskSequence]) -> dict[str, Tensor]:
    longest = max(len(sequence.ids) for sequence in sequences)
    shape = (len(sequences), longest)
    ids, labels = np.full(shape, PAD, np.int64), np.full(shape, IGNORED, np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence.ids)] = sequence.ids
        labels[row, : len(sequence.ids)] = sequence.labels
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy((ids != PAD).astype(np.int64)),
        "labels": torch.from_numpy(labels),
    }


def _loops(trainer: GPATrainer, rows: PackedRows) -> tuple[float, float]:
    """Steps a second of the Trainer and of the loop that one would write by hand."""
    bare = with_packed_loss(new_model(SIZE, 0)).train()
    optimizer = torch.optim.AdamW(bare.parameters(), lr=1e-3, fused=True)
    start = time.perf_counter()
    for number in range(STEPS):
        bare(**collate([rows[number]])).loss.backward()
        torch.nn.utils.clip_grad_norm_(bare.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    by_hand = STEPS / (time.perf_counter() - start)

    trainer.args.save_strategy = "no"
    result = trainer.train()
    return STEPS / result.metrics["train_runtime"], by_hand
