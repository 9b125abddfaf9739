"""What training costs, as ratios measured in one run on one machine.

Packed rows against padded batches, our loop against a bare one, the loader against the model.
All on one thread and in processor seconds, so that other programs on the machine do not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM, TrainerCallback

from gpa.runtime.bench.figures import Measurement, one_torch_thread
from gpa.tokenize.sequences import IGNORED, TaskSequence
from gpa.tokenize.shards import (
    Provenance,
    TokenShards,
    Utterance,
    UtteranceTokens,
    token_rows,
    write_index,
    write_shard,
)
from gpa.tokenize.vocabulary import PAD, Vocabulary
from gpa.train.attention import BY_SEQUENCE
from gpa.train.command import build, prepare
from gpa.train.config import TrainConfig
from gpa.train.data import PackedRows, compose
from gpa.train.loss import with_packed_loss
from gpa.train.packing import collate
from gpa.train.sizes import new_model
from gpa.train.trainer import GPATrainer

SIZE = "tiny"
# The row of the published sizes.
ROW_TOKENS = 4096
ROWS = 2
STEPS = 5
# The batch of the authors' training code, which pads, and computes the logits of every position.
AUTHORS_BATCH = 2

Loss = Callable[[Qwen3ForCausalLM, Mapping[str, Any]], Tensor]


def bench() -> Iterator[Measurement]:
    """All measurements on made-up tokens of the lengths of read speech, on one thread."""
    with one_torch_thread(), TemporaryDirectory() as scratch:
        shards = made_up_shards(Path(scratch) / "tokens", 600)
        yield from _measure(shards, Path(scratch))


def made_up_shards(folder: Path, count: int) -> TokenShards:
    """Token shards of `made_up_utterances`."""
    folder.mkdir(parents=True)
    index = write_shard(folder / "shard-000000.arrow", token_rows(made_up_utterances(count)))
    digest = Vocabulary.build().text_digest
    write_index(folder, [index], Provenance(digest, "none", "none", False))
    return TokenShards(folder)


def made_up_utterances(count: int) -> list[Utterance]:
    """Random codes; durations are log-normal, 2 to 25 s with a median of 8 s."""
    rng = np.random.default_rng(0)
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
        name = f"{number:016x}-{number:09d}"
        # Some 14 letters are spoken in a second.
        text = ("of all words " * 30)[: int(14 * duration_s)]
        speaker = f"speaker-{number % 40}"
        utterances.append(Utterance(name, speaker, "en", "made-up", text, duration_s, tokens))
    return utterances


def _measure(shards: TokenShards, scratch: Path) -> list[Measurement]:
    config = TrainConfig.model_validate(
        {
            "save_every_steps": 10_000,
            "keep_checkpoints": 1,
            "held_back_share": 0,
            "loader_workers": 0,
            "batches": {SIZE: {"row_tokens": ROW_TOKENS, "rows_per_step": 1, "rows_at_once": 1}},
            "phases": {
                "pretrain": {
                    "supervise": "answer",
                    "steps": {SIZE: STEPS},
                    "learning_rate": {SIZE: 1e-3},
                },
            },
        }
    )
    run = prepare(
        config,
        model=SIZE,
        phase="pretrain",
        tokens=shards.folder,
        out=scratch / "run",
    )
    reading = _reading(_with(run.rows, 150, False))
    answers, pretraining = (_with(run.rows, ROWS, supervise_all) for supervise_all in (False, True))
    packed, padded = _packed_and_padded(answers, _loss)
    packed_all, padded_all = _packed_and_padded(pretraining, _loss)
    packed_layers, padded_layers = _packed_and_padded(pretraining, _layers_alone)
    authors = _as_the_authors(pretraining)
    return [
        Measurement("packed / as the authors, all supervised", packed_all / authors, "x", 2.0),
        Measurement("packed / padded, the layers alone", packed_layers / padded_layers, "x", 2.0),
        Measurement("packed / padded, all supervised", packed_all / padded_all, "x"),
        Measurement("packed / padded, answers supervised", packed / padded, "x"),
        Measurement("our loop / bare PyTorch loop", _loops(build(run), run.rows), "x", 0.97),
        Measurement("loader / model, useful tokens a second", reading / packed, "x", 10.0),
        Measurement("reading and composing", 1e6 / reading, "s per million tokens"),
    ]


def _with(rows: PackedRows, count: int, supervise_all: bool) -> PackedRows:
    """As many rows of the same mixture, supervised so."""
    return PackedRows(rows.shards, rows.structure, rows.mixture, count, supervise_all)


def _reading(rows: PackedRows) -> float:
    """Useful tokens a second that the loader makes alone, on one core."""
    useful, start = 0, time.process_time()
    for number in range(len(rows)):
        collate([rows[number]])
        useful += sum(draw.length for draw in rows.draws(number))
    return useful / (time.process_time() - start)


def _loss(model: Qwen3ForCausalLM, batch: Mapping[str, Any]) -> Tensor:
    return model(**batch).loss


def _layers_alone(model: Qwen3ForCausalLM, batch: Mapping[str, Any]) -> Tensor:
    """No output layer, which costs the same packed and padded, and is most of the tiny model."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    return model.model(**inputs, use_cache=False).last_hidden_state.sum()


def _packed_and_padded(rows: PackedRows, loss: Loss) -> tuple[float, float]:
    """Useful tokens a second of forward and backward of `loss`, over the same sequences.

    Padded batches have as many sequences as a packed row on average, in random order, and are as
    long as their longest.
    """
    sequences = _sequences(rows)
    useful = sum(len(sequence.ids) for sequence in sequences)
    size = -(-len(sequences) // len(rows))
    padded = [_pad(batch, rows.supervise_all) for batch in _batches(sequences, size)]
    packed = [collate([rows[number]]) for number in range(len(rows))]
    by_sequence, masked = (
        with_packed_loss(new_model(SIZE, 0, attn_implementation=attention)).train()
        for attention in (BY_SEQUENCE, "sdpa")
    )
    _seconds(by_sequence, packed[:1], loss)
    return useful / _seconds(by_sequence, packed, loss), useful / _seconds(masked, padded, loss)


def _as_the_authors(rows: PackedRows) -> float:
    """Useful tokens a second of transformers' own forward and loss over small padded batches."""
    # Logits of every position are slow and large: a few sequences tell.
    sequences = _sequences(rows)[: 2 * AUTHORS_BATCH]
    useful = sum(len(sequence.ids) for sequence in sequences)
    padded = [_pad(batch, rows.supervise_all) for batch in _batches(sequences, AUTHORS_BATCH)]
    return useful / _seconds(new_model(SIZE, 0).train(), padded, _loss)


def _seconds(model: Qwen3ForCausalLM, batches: Iterable[dict[str, Any]], loss: Loss) -> float:
    """Processor seconds of forward and backward."""
    start = time.process_time()
    for batch in batches:
        model.zero_grad()
        loss(model, batch).backward()
    return time.process_time() - start


def _sequences(rows: PackedRows) -> list[TaskSequence]:
    """The sequences of all rows, in random order: packing has long ones first."""
    found = [
        compose(rows.shards, rows.structure, draw)
        for number in range(len(rows))
        for draw in rows.draws(number)
    ]
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))]


def _batches(sequences: list[TaskSequence], size: int) -> list[list[TaskSequence]]:
    return [sequences[start : start + size] for start in range(0, len(sequences), size)]


def _pad(sequences: list[TaskSequence], supervise_all: bool) -> dict[str, Tensor]:
    longest = max(len(sequence.ids) for sequence in sequences)
    shape = (len(sequences), longest)
    ids, labels = np.full(shape, PAD, np.int64), np.full(shape, IGNORED, np.int64)
    for row, sequence in enumerate(sequences):
        length = len(sequence.ids)
        ids[row, :length] = sequence.ids
        labels[row, :length] = sequence.ids if supervise_all else sequence.labels
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy((ids != PAD).astype(np.int64)),
        "labels": torch.from_numpy(labels),
    }


class Stopwatch(TrainerCallback):
    """Processor seconds of each optimizer step, its batch and its bookkeeping included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.last = time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now = time.process_time()
        self.seconds.append(now - self.last)
        self.last = now


def _loops(trainer: GPATrainer, rows: PackedRows) -> float:
    """Speed of the Trainer as a share of that of the loop one would write by hand.

    Both take the same rows, and the median step counts.
    """
    bare = with_packed_loss(new_model(SIZE, 0, attn_implementation=BY_SEQUENCE)).train()
    optimizer = torch.optim.AdamW(bare.parameters(), lr=1e-3, fused=True)
    by_hand = []
    for number in range(STEPS):
        start = time.process_time()
        bare(**collate([rows[number]])).loss.backward()
        torch.nn.utils.clip_grad_norm_(bare.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        by_hand.append(time.process_time() - start)

    trainer.args.save_strategy = "no"
    stopwatch = Stopwatch()
    trainer.add_callback(stopwatch)
    trainer.train()
    return float(np.median(np.divide(by_hand, stopwatch.seconds)))
