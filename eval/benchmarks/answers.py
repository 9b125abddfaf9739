"""A model's answers to a test set: what it writes, and what it says, as WAV files.

An item that the model can't work on, because its prompt is longer than the context or its audio is
silent, has an empty answer and a reason, and the set goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from gpa.eval.benchmarks.datasets import Item, TestSet
from gpa.eval.benchmarks.scoring import write_spoken
from gpa.eval.generation.generate import Generator, Result
from gpa.eval.generation.prompts import Request
from gpa.runtime.errors import UserError
from gpa.tokenize.sequences import Task, asr_prompt
from gpa.tokenize.vocabulary import StructureTokens
from gpa.train.generation.language_model import LanguageModel, Prompt

Question = TypeVar("Question")
Answer = TypeVar("Answer")

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
    prepare = partial(_request, test_set.task)
    for item, result in _each(test_set, prepare, generator.generate, console):
        if isinstance(result, UserError):
            answers.failed[item.key] = str(result)
            result = Result("", np.zeros(0, np.float32), 0, "end")
        if test_set.task == "asr":
            answers.texts[item.key] = result.text or ""
        elif result.waveform is not None:
            write_spoken(folder, item.key, result.waveform)
    return answers


def answer_tokens(model: LanguageModel, test_set: TestSet, console: Console) -> Answers:
    """Let the model recognise what was tokenized already.

    Raises UserError where the tokens can't be read, or are of another vocabulary.
    """
    if test_set.tokenized:
        test_set.tokenized.check_vocabulary(model.vocabulary.text_digest, test_set.name)
    answers = Answers()
    prepare = partial(_prompt, model.vocabulary.structure)
    for item, text in _each(test_set, prepare, model.write, console):
        if isinstance(text, UserError):
            answers.failed[item.key] = str(text)
            text = ""
        answers.texts[item.key] = text
    return answers


def _request(task: Task, item: Item, seed: int) -> Request:
    return Request(
        task,
        text=item.text if task == "tts" else None,
        voice=item.voice() if item.voice else None,
        audio=item.audio() if item.audio else None,
        seed=seed,
    )


def _prompt(structure: StructureTokens, item: Item, seed: int) -> Prompt:
    if item.tokens is None:
        raise ValueError(f"{item.key} has no tokens")
    tokens = item.tokens()
    ids = asr_prompt(structure, tokens.glm_tokens, tokens.semantic_tokens)
    return Prompt("asr", ids, None, seed)


def _each(
    test_set: TestSet,
    prepare: Callable[[Item, int], Question],
    work: Callable[[Sequence[Question]], Sequence[Answer]],
    console: Console,
) -> Iterator[tuple[Item, Answer | UserError]]:
    """Items and their answers, in order; `prepare` has an item and its number, which is its seed."""
    items = test_set.items
    starts = range(0, len(items), HELD_ITEMS)
    title = f"  {test_set.name} {test_set.task}"
    for start in track(starts, title, console=console, disable=not console.is_terminal):
        some = items[start : start + HELD_ITEMS]
        questions = [prepare(item, start + number) for number, item in enumerate(some)]
        yield from zip(some, _work(work, questions), strict=True)


def _work(
    work: Callable[[Sequence[Question]], Sequence[Answer]], questions: Sequence[Question]
) -> list[Answer | UserError]:
    """All answers at once, or, where one is refused, each by itself."""
    answers: list[Answer | UserError] = []
    try:
        answers += work(questions)
    except UserError as error:
        if len(questions) == 1:
            return [error]
        for question in questions:
            answers += _work(work, [question])
    return answers
