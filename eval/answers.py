"""A model's answers to a test set: what it writes, and what it says, as WAV files.

An item that the model can't work on, because its prompt is longer than the context or its audio is
silent, has an empty answer and a reason, and the set goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from gpa.eval.datasets import Item, TestSet
from gpa.eval.generate import Generator, Result
from gpa.eval.prompts import Request
from gpa.eval.scoring import write_spoken
from gpa.runtime.errors import UserError
from gpa.tokenize.sequences import Task

# Items whose audio is held in memory; how many are generated at once is the generator's to say.
HELD_ITEMS = 64


@dataclass(frozen=True)
class Answers:
    """By key: the texts of recognition, and why items have no answer."""

    texts: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def answer(generator: Generator, test_set: TestSet, folder: Path, console: Console) -> Answers:
    """Let the model work on all items; what it says goes to `KEY.wav` in `folder`.

    Raises UserError where a test set's own audio can't be read.
    """
    answers = Answers()
    for item, result in _results(generator, test_set, console):
        if isinstance(result, UserError):
            answers.failed[item.key] = str(result)
            result = Result("", np.zeros(0, np.float32), 0, "end")
        if test_set.task == "asr":
            answers.texts[item.key] = result.text or ""
        elif result.waveform is not None:
            write_spoken(folder, item.key, result.waveform)
    return answers


def _results(
    generator: Generator, test_set: TestSet, console: Console
) -> Iterator[tuple[Item, Result | UserError]]:
    """Items and their answers, in order."""
    items = test_set.items
    starts = range(0, len(items), HELD_ITEMS)
    title = f"  {test_set.name} {test_set.task}"
    for start in track(starts, title, console=console, disable=not console.is_terminal):
        some = items[start : start + HELD_ITEMS]
        requests = [
            _request(test_set.task, item, start + number) for number, item in enumerate(some)
        ]
        yield from zip(some, _generate(generator, requests), strict=True)


def _request(task: Task, item: Item, seed: int) -> Request:
    return Request(
        task,
        text=item.text if task == "tts" else None,
        voice=item.voice() if item.voice else None,
        audio=item.audio() if item.audio else None,
        seed=seed,
    )


def _generate(generator: Generator, requests: Sequence[Request]) -> list[Result | UserError]:
    """All answers at once, or, where one is refused, each by itself."""
    try:
        return [*generator.generate(requests)]
    except UserError as error:
        if len(requests) == 1:
            return [error]
    return [result for request in requests for result in _generate(generator, [request])]
