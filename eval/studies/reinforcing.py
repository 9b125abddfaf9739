"""Whether reinforcement teaches: a model that has half learnt a few utterances, paid for hearing them.

`python -m gpa.eval.studies.reinforcing --tokens TOKENS --out OUT` trains `tiny` on the utterances of
TOKENS until it knows about half of them by heart (`train/by_heart.yaml`, cut short), goes on by
reinforcement alone, and beside it by a control: the same rewards, shuffled among the answers of each
group. Recognition is measured on the same utterances, drawn as the answers of a step are, and greedily:
it is learning by heart that is shown, not speech.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from gpa.curation.text.units import units
from gpa.eval.benchmarks.answers import answer_tokens
from gpa.eval.benchmarks.datasets import Item, read_sets
from gpa.eval.metrics import corpus_wer, errors
from gpa.tokenize.sequences import Task
from gpa.train.command import Run, build, prepare, read_config
from gpa.train.config import TrainConfig
from gpa.train.generation.language_model import GenerationConfig, LanguageModel
from gpa.train.mixture import Draw
from gpa.train.reinforce import Measure, ReinforceTrainer
from gpa.train.rewards import Values
from gpa.train.trainer import checkpoints

HALF_LEARNT_STEPS = 90
STEPS = 30
# Longer ones fit into no row; the 12 others of the sample corpus fit into so many, and each step
# asks them all.
LONGEST_S = 7
ROW_TOKENS = 512
ROWS = 5
ANSWERS = 16
# The longest of their transcripts has 14 tokens.
LONGEST_ANSWER = 20
# Of each utterance, where what is drawn is measured.
DRAWS = 8
LEARNING_RATE = 1e-3
ADAM_EPSILON = 1e-5


def reinforced(config: TrainConfig) -> TrainConfig:
    """Settings of reinforcement on the data and rows that the model was half taught with."""
    phase = config.phases["pretrain"].model_copy(
        update={
            "steps": {"tiny": STEPS},
            "learning_rate": {"tiny": LEARNING_RATE},
            "adam_epsilon": ADAM_EPSILON,
        }
    )
    reinforce = config.reinforce.model_copy(
        update={"rows_per_step": ROWS, "answers": ANSWERS, "asr_tokens": LONGEST_ANSWER}
    )
    return config.model_copy(
        update={
            "phases": {"reinforce": phase},
            "reinforce": reinforce,
            "save_every_steps": STEPS,
            "keep_checkpoints": 1,
        }
    )


def shuffled(measure: Measure, seed: int) -> Measure:
    """The same rewards to other answers of the group: as large, as many, and meaningless."""
    generator = np.random.default_rng(seed)

    def measured(task: Task, draws: Sequence[Draw], answers: Sequence[Sequence[int]]) -> Values:
        found = measure(task, draws, answers)
        groups = found["reward"].reshape(-1, ANSWERS)
        return found | {"reward": generator.permuted(groups, axis=1).ravel()}

    return measured


def error_rates(checkpoint: Path, tokens: Path) -> str:
    """WER of what is drawn and of greedy recognition of the short utterances, as two cells."""
    settings = {"max_new_tokens": LONGEST_ANSWER}
    config = GenerationConfig.model_validate(dict.fromkeys(("asr", "tts", "vc"), settings))
    model = LanguageModel.load(checkpoint, config)
    drawn = [error_rate(model, tokens, 1.0, seed) for seed in range(DRAWS)]
    return f"{np.mean(drawn):.1%} | {error_rate(model, tokens, 0.0, 0):.1%}"


def error_rate(model: LanguageModel, tokens: Path, temperature: float, seed: int) -> float:
    """Corpus WER in agreement units of recognition of the short utterances."""
    sampling = model.config.asr.model_copy(update={"temperature": temperature})
    config = model.config.model_copy(update={"asr": sampling, "seed": seed})
    model = replace(model, config=config)
    counts = []
    for test_set in read_sets("tokens", str(tokens), None, 0):
        test_set = replace(test_set, items=tuple(filter(_is_short, test_set.items)))
        written = answer_tokens(model, test_set, Console(quiet=True)).texts
        counts += [
            errors(*(units(text, test_set.language) for text in (item.text, written[item.key])))
            for item in test_set.items
        ]
    return corpus_wer(counts).value


def _is_short(item: Item) -> bool:
    """Whether an utterance fits into a row."""
    return item.tokens is not None and len(item.tokens().semantic_tokens) <= 50 * LONGEST_S


def study(tokens: Path, out: Path, seeds: Iterable[int]) -> None:
    """Print for each seed WER before and after reinforcement, and after the control.

    What lies in `out` already is gone on with.
    """
    config = read_config(Path("train/by_heart.yaml"))
    batch = config.batches["tiny"].model_copy(update={"row_tokens": ROW_TOKENS})
    config = config.model_copy(update={"keep_checkpoints": 1, "batches": {"tiny": batch}})
    where = partial(prepare, model="tiny", tokens=tokens, resume=True)
    half = _trained(
        where(config, phase="pretrain", out=out / "half", steps=HALF_LEARNT_STEPS, checkpoint=None)
    )
    before = error_rates(half, tokens)
    print(
        "| seed | half learnt, drawn | greedy | reinforced, drawn | greedy | control, drawn | greedy |"
        "\n|---|---|---|---|---|---|---|"
    )
    for seed in seeds:
        settings = reinforced(config.model_copy(update={"seed": seed}))
        rates = [before]
        for name, random in (("rewards", None), ("shuffled", seed)):
            folder = out / f"{name}-{seed}"
            run = where(settings, phase="reinforce", out=folder, steps=None, checkpoint=half)
            rates.append(error_rates(_trained(run, random), tokens))
        print(f"| {seed} | {' | '.join(rates)} |", flush=True)


def _trained(run: Run, shuffle: int | None = None) -> Path:
    """The last checkpoint of a run, its rewards shuffled by this seed."""
    trainer = build(run)
    if shuffle is not None and isinstance(trainer, ReinforceTrainer):
        trainer.measure = shuffled(trainer.measure, shuffle)
    trainer.train(resume_from_checkpoint=str(run.resume) if run.resume else None)
    return checkpoints(run.out)[-1]


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    study(given.tokens, given.out, range(given.seeds))


if __name__ == "__main__":
    main()
