"""Training on what is measured of answers: metric-driven post-training, section 5 of the paper.

A step asks the prompts of some packed rows. Each is answered several times at temperature 1 by the
loop that evaluation uses; an answer's advantage is its reward minus the mean of its group; and the
log probabilities of its tokens, among the legal ones that it was drawn from, are weighed with it
(REINFORCE: one step an answer, so that there is no ratio to clip). All tokens of a step weigh the
same. What is drawn depends on seed and step alone, so a run goes on as if it had never stopped.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import Qwen3ForCausalLM

from gpa.tokenize.sequences import IGNORED, Task, TaskSequence
from gpa.tokenize.vocabulary import Vocabulary
from gpa.train.config import TrainConfig
from gpa.train.data import PackedRows, compose
from gpa.train.generation.decoding import Legal, Token, TransformersEngine
from gpa.train.generation.language_model import GenerationConfig, LanguageModel, Prompt, codes
from gpa.train.generation.sampling import SamplingConfig
from gpa.train.loss import CHUNK_TOKENS
from gpa.train.mixture import Draw
from gpa.train.packing import collate, fill_row, pack
from gpa.train.rewards import Ears, Rewards, Values, advantages, summary
from gpa.train.sizes import Size, load_model
from gpa.train.trainer import GPATrainer

# Held-back utterances that are answered greedily for each task.
EVALUATED = 500
# More draws than a step ever has: seeds of different steps never meet.
STEP_SEEDS = 2**32

Measure = Callable[[Task, Sequence[Draw], Sequence[Sequence[int]]], Values]


class PromptRows(PackedRows):
    """The draws of each row of a mixture: what is asked, with its right answer, fills the row."""

    def __getitem__(self, number: int) -> list[Draw]:  # type: ignore[override] # rows to be asked
        return self.draws(number)


@dataclass(frozen=True)
class Answer:
    """What was drawn for a prompt, as a sequence, and what it is worth beside its group."""

    sequence: TaskSequence
    advantage: float

    @property
    def length(self) -> int:
        """Its tokens, the end included."""
        return len(self.sequence.ids) - self.sequence.answer_start


class ReinforceTrainer(GPATrainer):
    """The trainer of the other phases, whose rows are made of its own answers.

    The judges of what it says are loaded here, and the weights at `start` where it is held to them.
    """

    def __init__(
        self,
        config: TrainConfig,
        size: Size,
        vocabulary: Vocabulary,
        start: Path | None,
        rows: PackedRows,
        *args: Any,
        **options: Any,
    ):
        super().__init__(rows, *args, **options)
        self.data_collator = _together
        self.config, self.vocabulary = config.reinforce, vocabulary
        self.rows_at_once = config.batches[size].rows_at_once
        rewards, ears = config.reinforce.rewards, None
        if set(rows.mixture.tasks) != {"asr"}:
            languages = rows.mixture.catalogue.languages
            ears = Ears.load(rewards, rows.shards.provenance, languages)
        self.measure: Measure = Rewards(rewards, rows.shards, vocabulary, ears)
        self.start: Qwen3ForCausalLM | None = None
        if self.config.kl and start:
            attention = self.network.config._attn_implementation
            held = load_model(size, start, attn_implementation=attention)
            self.start = held.to(self.args.device)  # type: ignore[arg-type] # as in load
        self.measured: dict[str, float] = {}

    def training_step(
        self, model: nn.Module, inputs: Any, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Draw answers to the prompts, and add up the gradient of the loss over all of them."""
        by_task: dict[Task, list[Draw]] = {}
        for draw in inputs:
            by_task.setdefault(task_of(draw), []).append(draw)
        self.measured = {}
        rows = {task: self._rows(self._rewarded(task, each)) for task, each in by_task.items()}
        tokens = sum(each.length for of in rows.values() for row in of for each in row)
        total = torch.zeros((), device=self.args.device)
        for task, drawn in rows.items():
            for first in range(0, len(drawn), self.rows_at_once):
                some = drawn[first : first + self.rows_at_once]
                with self.compute_loss_context_manager():
                    loss = self._loss(Legal.of(task, self.vocabulary.structure), some) / tokens
                self.accelerator.backward(loss)
                total += loss.detach()
        return total

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Answer the held-back utterances greedily; means of what is measured of them."""
        held_back: Mapping[str, Any] = self.eval_dataset  # type: ignore[assignment]
        metrics: dict[str, float] = {}
        for task, rows in held_back.items():
            draws = [draw for row in rows.rows for draw in row][:EVALUATED]
            measured = self.measured_answers(draws, temperature=0, answers=1)[1]
            metrics |= {f"eval_{task}_{name}": float(v.mean()) for name, v in measured.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: most of the time goes into drawing answers."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """What was measured of a step's answers stands beside its loss."""
        super().log(logs | self.measured if "loss" in logs else logs, start_time)

    def answer(self, draws: Sequence[Draw], temperature: float, answers: int) -> list[list[Token]]:
        """The tokens of so many answers to each of the prompts of one task, group by group."""
        first_seed = self.state.global_step * STEP_SEEDS
        prompts = [
            Prompt(task_of(draw), self._sequence(draw).prompt, None, first_seed + number)
            for number, draw in enumerate(_each(draws, answers))
        ]
        heard, said = (
            SamplingConfig(temperature=temperature, max_new_tokens=most)
            for most in (self.config.asr_tokens, self.config.speech_tokens)
        )
        config = GenerationConfig(
            asr=heard,
            tts=said,
            vc=said,
            seed=self.args.seed,
            batch_tokens=self.config.batch_tokens,
        )
        found: dict[int, list[Token]] = {}
        with answering(self.network) as engine, self.compute_loss_context_manager():
            for numbers, tokens in LanguageModel(engine, self.vocabulary, config).answers(prompts):
                found |= zip(numbers, tokens, strict=True)
        return [found[number] for number in range(len(prompts))]

    def measured_answers(
        self, draws: Sequence[Draw], temperature: float, answers: int
    ) -> tuple[list[list[Token]], Values]:
        """What `answer` gives, and what is measured of it."""
        tokens = self.answer(draws, temperature, answers)
        said = [list(codes(one)) for one in tokens]
        return tokens, self.measure(task_of(draws[0]), _each(draws, answers), said)

    def _rewarded(self, task: Task, draws: Sequence[Draw]) -> list[Answer]:
        """Answers to these prompts, but for groups without spread: all alike, they teach nothing."""
        answers = self.config.answers
        tokens, measured = self.measured_answers(draws, temperature=1, answers=answers)
        for name, values in measured.items():
            for end, value in summary(values.reshape(-1, answers)).items():
                self.measured[f"{task}_{name}{end}"] = value
        rewards = measured["reward"].reshape(-1, answers)
        spread = np.repeat(np.ptp(rewards, axis=1) > 0, answers)
        legal = Legal.of(task, self.vocabulary.structure)
        return [
            Answer(_answered(self._sequence(draw).prompt, legal, drawn), float(advantage))
            for draw, drawn, advantage, kept in zip(
                _each(draws, answers), tokens, advantages(rewards).ravel(), spread, strict=True
            )
            if kept
        ]

    def _sequence(self, draw: Draw) -> TaskSequence:
        return compose(self.rows.shards, self.rows.structure, draw)

    def _rows(self, answers: Sequence[Answer]) -> list[list[Answer]]:
        """Answers packed as other sequences are; one that fits no row has one of its own."""
        lengths = [len(each.sequence.ids) for each in answers]
        longest = max([self.rows.mixture.row_tokens, *lengths])
        return [[answers[i] for i in row] for row in pack(lengths, longest)]

    def _loss(self, legal: Legal, rows: Sequence[Sequence[Answer]]) -> Tensor:
        """Sum over tokens: advantage times log probability, negated, and the divergence."""
        filled = [sum(len(each.sequence.ids) for each in row) for row in rows]
        row_tokens = max([self.rows.mixture.row_tokens, *filled])
        batch: dict[str, Any] = {
            name: value.to(self.args.device) if isinstance(value, Tensor) else value
            for name, value in collate(
                [fill_row([each.sequence for each in row], row_tokens, False) for row in rows]
            ).items()
        }
        weights = [np.full(each.length, each.advantage, np.float32) for row in rows for each in row]
        advantage = torch.from_numpy(np.concatenate(weights)).to(self.args.device)
        log_probability = log_probabilities(self.network, legal, batch)
        loss = -(advantage * log_probability).sum()
        if self.start is not None:
            with torch.no_grad():
                before = log_probabilities(self.start, legal, batch)
            # Unbiased and never negative (k3 of joschu.net/blog/kl-approx.html).
            ratio = before - log_probability
            loss = loss + self.config.kl * (ratio.exp() - ratio - 1).sum()
        return loss


def _each(draws: Sequence[Draw], answers: int) -> list[Draw]:
    """The draw of each answer, group by group."""
    return [draw for draw in draws for _ in range(answers)]


def _together(batch: list[list[Draw]]) -> Any:
    """The draws of some rows."""
    return list(itertools.chain.from_iterable(batch))


def task_of(draw: Draw) -> Task:
    """What kind of answer a draw asks for."""
    return "tts" if draw.task == "tts_continued" else draw.task


def _answered(prompt: Any, legal: Legal, tokens: Sequence[Token]) -> TaskSequence:
    """A prompt and what was drawn for it; any of the ends stands for all of them."""
    ids = [
        legal.ends[0] if token.code is None else token.code + legal.block.offset for token in tokens
    ]
    return TaskSequence(np.concatenate([prompt, np.array(ids, np.int32)]), len(prompt))


@contextmanager
def answering(model: Qwen3ForCausalLM) -> Iterator[TransformersEngine]:
    """The model as it answers: with a cache, which attention inside packed rows knows nothing of."""
    trained = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    try:
        yield TransformersEngine(model)
    finally:
        model.set_attn_implementation(trained)
        model.train()


def log_probabilities(model: Qwen3ForCausalLM, legal: Legal, batch: Mapping[str, Any]) -> Tensor:
    """Of each answer token of packed rows among the legal ones, shape (tokens,), row by row.

    An answer that ends may do so by any end. Scores are computed a chunk at a time, and once more
    for the gradient, so that those of a whole row are never held.
    """
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    hidden = model.model(**inputs, use_cache=False).last_hidden_state
    labels = batch["labels"][:, 1:]
    supervised = labels != IGNORED
    states, ids = hidden[:, :-1][supervised], labels[supervised]
    head = model.lm_head.weight
    ended = torch.isin(ids, torch.tensor(legal.ends, device=ids.device))

    def of_chunk(states: Tensor, ids: Tensor, ended: Tensor) -> Tensor:
        codes, ends = (scores.float().logsumexp(1) for scores in legal.scores(states, head))
        code = (states.float() * head[ids].float()).sum(1)
        return torch.where(ended, ends, code) - torch.logaddexp(codes, ends)

    chunks = zip(*(each.split(CHUNK_TOKENS) for each in (states, ids, ended)), strict=True)
    return torch.cat([checkpoint(of_chunk, *chunk, use_reentrant=False) for chunk in chunks])
