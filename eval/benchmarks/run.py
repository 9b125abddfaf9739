"""`gpa eval`: let a checkpoint recognise, speak and convert test sets, and write the tables.

`OUT/eval` then holds `tables.md`, `results.json`, and `audio/SET-TASK/KEY.wav`, all that was said.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from gpa.eval.benchmarks.answers import answer, answer_tokens
from gpa.eval.benchmarks.comparable import reservations
from gpa.eval.benchmarks.datasets import READERS, TestSet, read_sets
from gpa.eval.benchmarks.scoring import recognition_figures, spoken_figures
from gpa.eval.benchmarks.tables import UNTRAINED, Measured, System, tables
from gpa.eval.config import EvalConfig
from gpa.eval.generation.generate import Generator
from gpa.runtime.errors import UserError
from gpa.runtime.storage import Store
from gpa.tokenize.weights import TokenizerConfig, load_tokenizers
from gpa.train.generation.language_model import LanguageModel
from gpa.train.judges import Judges
from gpa.train.sizes import parameter_count, size_of
from gpa.train.trainer import checkpoints

TABLES, RESULTS, AUDIO = "eval/tables.md", "eval/results.json", "eval/audio"
LATENCY = "eval/latency.json"  # of `gpa latency`, where it was run


def parse_sets(given: Sequence[str]) -> list[tuple[str, str]]:
    """Names and folders of "NAME=FOLDER"; raises UserError."""
    sets = [tuple(each.split("=", 1)) for each in given]
    for each in sets:
        if len(each) != 2 or not each[1]:
            raise UserError(
                f"{'='.join(each)!r} names no test set; write NAME=FOLDER with a name of "
                f"{', '.join(READERS)}."
            )
    return [(name, folder) for name, folder in sets]


def evaluate(
    sets: Sequence[tuple[str, str]],
    *,
    checkpoint: Path,
    tokenizer: str,
    tokenizers: TokenizerConfig,
    config: EvalConfig,
    out: Path,
    limit: int | None,
    console: Console,
) -> dict[str, Any]:
    """Measure `checkpoint` on all sets; returns the content of `results.json`.

    A run's folder stands for its last checkpoint. `sets` has names of `datasets.READERS` and
    folders; `limit` bounds the utterances of each. Raises UserError for what is missing, before
    anything is generated.
    """
    checkpoint = [checkpoint, *checkpoints(checkpoint)][-1]
    size = size_of(checkpoint)
    test_sets = [
        found
        for name, folder in sets
        for found in read_sets(name, folder, limit, config.generation.seed)
    ]
    model = LanguageModel.load(checkpoint, config.generation, tokenizers.device)
    with_audio = any(each.tokenized is None for each in test_sets)
    generator = (
        Generator(model, *load_tokenizers(tokenizers), tokenizers.trained) if with_audio else None
    )
    spoken = {each.language for each in test_sets if each.task != "asr"}
    judges = Judges.load(config, spoken, "eval") if spoken else None
    system = System(
        name=f"GPA {size}",
        parameters=parameter_count(size),
        checkpoint=str(checkpoint),
        tokenizers=tokenizer if with_audio else "none",
        trained=all(_trained(each, tokenizers) for each in test_sets),
    )
    if not system.trained:
        console.print(f"[yellow]{UNTRAINED}[/yellow]")
    measured: list[Measured] = []
    results: dict[str, Any] = {}
    for test_set in test_sets:
        console.print(f"{test_set.name} {test_set.task}: {len(test_set.items):,} utterances")
        folder = out / AUDIO / f"{test_set.name}-{test_set.task}"
        if generator is None or test_set.tokenized:
            answers = answer_tokens(model, test_set, console)
        else:
            answers = answer(generator, test_set, folder, console)
        if judges is None or test_set.task == "asr":
            figures = recognition_figures(test_set, answers.texts)
        else:
            judge = judges.by_language[test_set.language]
            figures = spoken_figures(test_set, folder, judge, judges.encoder)
        trained = _trained(test_set, tokenizers)
        figures = [
            replace(figure, reservations=reservations(figure, test_set, config, trained))
            for figure in figures
        ]
        measured.append(Measured(test_set, tuple(figures), answers.failed))
        # After every set, so that hours of work on a long list are not lost with the last one.
        results = _write(out, system, measured)
    console.print(f"Tables: {out / TABLES}", markup=False)
    return results


def _trained(test_set: TestSet, tokenizers: TokenizerConfig) -> bool:
    """Whether the tokens that the model is given of a set mean anything."""
    return test_set.tokenized.trained if test_set.tokenized else tokenizers.trained


def _write(out: Path, system: System, measured: Sequence[Measured]) -> dict[str, Any]:
    """Write the results so far and their tables; returns the content of `results.json`."""
    store = Store(str(out))
    latency = json.loads(store.read(LATENCY)) if store.exists(LATENCY) else None
    results = {"system": asdict(system), "sets": [as_json(each) for each in measured]}
    store.write(RESULTS, json.dumps(results, indent=1, ensure_ascii=False).encode())
    store.write(TABLES, tables(system, measured, latency).encode())
    return results


def as_json(measured: Measured) -> dict[str, Any]:
    """A set in `results.json`: shares, not percent; null where there is no number."""
    return {
        "set": measured.test_set.name,
        "task": measured.test_set.task,
        "language": measured.test_set.language,
        "utterances": len(measured.test_set.items),
        "published_utterances": measured.test_set.published_size,
        "failed": dict(measured.failed),
        "figures": [
            asdict(figure) | {"estimate": figure.estimate.as_json()} for figure in measured.figures
        ],
    }
