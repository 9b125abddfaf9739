"""Test sets, from local folders in the layouts they are published in; nothing is downloaded.

| name | folder | what is measured |
|---|---|---|
| `librispeech` | `LibriSpeech/` or its `test-clean/` | recognition |
| `aishell-1` | `data_aishell/` | recognition |
| `seed-tts-eval` | `seedtts_testset/` | synthesis and conversion, English and Mandarin |
| `curated` | the OUT of a curation | all three |
| `tokens` | token shards | recognition, without audio: what a model was trained on |

A set is read whole before anything is generated: an audio file or a text that is missing is an
error, never an utterance less. Audio and tokens are read when their turn comes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from gpa.curation.audio import Waveform
from gpa.curation.curated import CuratedUtterance, read_curated
from gpa.eval.benchmarks.recognition import Units
from gpa.eval.benchmarks.seed_tts import SPOKEN_LANGUAGES
from gpa.eval.generation.commands import read_speech
from gpa.eval.generation.prompts import as_speech
from gpa.runtime.config import read_text
from gpa.runtime.errors import UserError
from gpa.tokenize.sequences import Task, choose_references
from gpa.tokenize.shards import Provenance, TokenShards, UtteranceTokens

# What is read of an utterance when its turn comes: samples (samples,) at 16 kHz.
Read = Callable[[], Waveform]


@dataclass(frozen=True)
class Item:
    """One thing to measure.

    Recognition hears `audio` and should write `text`. Synthesis says `text` in the voice of
    `voice`; conversion says what `audio` says, `text`, in the voice of `voice`. What was
    tokenized already has `tokens` instead of either.
    """

    key: str
    text: str
    audio: Read | None = None
    voice: Read | None = None
    tokens: Callable[[], UtteranceTokens] | None = None


@dataclass(frozen=True)
class TestSet:
    """Items of one task and one language (ISO 639-1).

    `units` says how recognition is counted. `published_size` is how many utterances the set has
    as published, None where there is no such number. `tokenized` says what made the tokens of a
    set that has no audio.
    """

    name: str
    task: Task
    language: str
    items: tuple[Item, ...]
    units: Units = "agreement"
    published_size: int | None = None
    tokenized: Provenance | None = None

    __test__ = False  # no test of pytest's

    @property
    def whole(self) -> bool:
        """Whether figures on it can be set beside published ones."""
        return self.published_size == len(self.items)


def read_sets(name: str, folder: str, limit: int | None, seed: int) -> list[TestSet]:
    """The sets in `folder`, which is laid out as `name` says, of at most `limit` items each.

    What exceeds `limit` is left out at random, the same for the same seed. Raises UserError where
    the folder does not hold what it should.
    """
    if name not in READERS:
        raise UserError(f"There is no test set {name!r}; choose {', '.join(READERS)}.")
    sets = READERS[name](folder, seed)
    return [replace(found, items=_drawn(found.items, limit, seed)) for found in sets]


def librispeech(folder: str, seed: int) -> list[TestSet]:
    """LibriSpeech test-clean: `SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt` beside the FLACs."""
    root = Path(folder)
    root = root / "test-clean" if (root / "test-clean").is_dir() else root
    items = []
    for transcripts in sorted(root.glob("*/*/*.trans.txt")):
        for line in _lines(transcripts):
            key, _, text = line.partition(" ")
            items.append(Item(key, text, audio=_file(transcripts.with_name(f"{key}.flac"))))
    if not items:
        raise UserError(f"{folder} holds no LibriSpeech test-clean (SPEAKER/CHAPTER/*.trans.txt).")
    return [TestSet("librispeech-test-clean", "asr", "en", tuple(items), "librispeech", 2620)]


def aishell_1(folder: str, seed: int) -> list[TestSet]:
    """The test part of AISHELL-1: `wav/test/SPEAKER/*.wav`, and one transcript for all parts."""
    root = Path(folder)
    transcript = root / "transcript" / "aishell_transcript_v0.8.txt"
    clips = sorted((root / "wav" / "test").glob("*/*.wav"))
    if not clips:
        raise UserError(f"{folder} holds no AISHELL-1 (wav/test/SPEAKER/*.wav, unpacked).")
    written = dict(line.split(maxsplit=1) for line in _lines(transcript))
    unknown = next((clip for clip in clips if clip.stem not in written), None)
    if unknown:
        raise UserError(f"{transcript} has no text of {unknown}.")
    items = tuple(Item(clip.stem, written[clip.stem], audio=_file(clip)) for clip in clips)
    return [TestSet("aishell-1-test", "asr", "zh", items, "aishell", 7176)]


# Of each list: its name here, task, language, and how many lines it has as published.
SEED_TTS_LISTS: Mapping[str, tuple[str, Task, str, int]] = {
    "en/meta.lst": ("seed-tts-eval-en", "tts", "en", 1088),
    "zh/meta.lst": ("seed-tts-eval-zh", "tts", "zh", 2020),
    "zh/hardcase.lst": ("seed-tts-eval-zh-hard", "tts", "zh", 400),
    "en/non_para_reconstruct_meta.lst": ("seed-tts-eval-vc-en", "vc", "en", 1086),
    "zh/non_para_reconstruct_meta.lst": ("seed-tts-eval-vc-zh", "vc", "zh", 2018),
}


def seed_tts_eval(folder: str, seed: int) -> list[TestSet]:
    """The lists of seed-tts-eval that are there.

    A line is `name|text of the prompt|prompt|text to say`, and for conversion `|speech to
    convert`; audio is named relative to the list.
    """
    sets = []
    for path, (name, task, language, size) in SEED_TTS_LISTS.items():
        meta = Path(folder) / path
        if not meta.is_file():
            continue
        items = []
        for number, line in enumerate(_lines(meta), start=1):
            key, *fields = line.split("|")
            if len(fields) < (4 if task == "vc" else 3):
                raise UserError(f"{meta}, line {number} has {len(fields) + 1} fields, too few.")
            source = _file(meta.parent / fields[3]) if task == "vc" else None
            items.append(Item(key, fields[2], source, voice=_file(meta.parent / fields[1])))
        sets.append(TestSet(name, task, language, tuple(items), published_size=size))
    if not sets:
        raise UserError(f"{folder} holds no seed-tts-eval ({', '.join(SEED_TTS_LISTS)}).")
    return sets


def curated(folder: str, seed: int) -> list[TestSet]:
    """The shards of a curation, each language by itself, in all three tasks.

    Synthesis has the voice of another utterance of the same speaker (of the utterance itself where
    there is no other), conversion that of another speaker; with one speaker there is none. Both
    are measured in the languages that there are rules for (`seed_tts.py`).
    """
    by_language: dict[str, list[CuratedUtterance]] = {}
    for utterance in read_curated(folder):
        by_language.setdefault(utterance.metadata["language"], []).append(utterance)
    sets: list[TestSet] = []
    for language, utterances in sorted(by_language.items()):
        speakers = [each.metadata["speaker"] for each in utterances]
        own = choose_references(speakers, seed)[0].tolist()
        others = other_voices(speakers, seed)
        heard = tuple(_curated_item(each) for each in utterances)
        said = tuple(
            replace(item, audio=None, voice=heard[voice].audio)
            for item, voice in zip(heard, own, strict=True)
        )
        turned = tuple(
            replace(item, voice=heard[voice].audio)
            for item, voice in zip(heard, others, strict=False)
        )
        by_task: dict[Task, tuple[Item, ...]] = {"asr": heard}
        if language in SPOKEN_LANGUAGES:
            by_task |= {"tts": said, "vc": turned}
        sets += [
            TestSet(f"curated-{language}", task, language, items)
            for task, items in by_task.items()
            if items
        ]
    return sets


def tokens(folder: str, seed: int) -> list[TestSet]:
    """Token shards, each language by itself; no audio and no tokenizer of audio is needed.

    Recognition alone: what the other tasks say could only be judged through a codec.
    """
    shards = TokenShards(Path(folder))
    by_language: dict[str, list[Item]] = {}
    # Texts stay in memory; tokens are read again, by their number, when their turn comes.
    number = 0
    for rows in shards.shards():
        columns = (rows[name].to_pylist() for name in ("utterance_id", "language", "text"))
        for key, language, text in zip(*columns, strict=True):
            item = Item(key, text, tokens=partial(shards.tokens, number))
            by_language.setdefault(language, []).append(item)
            number += 1
    return [
        TestSet(f"tokens-{language}", "asr", language, tuple(items), tokenized=shards.provenance)
        for language, items in sorted(by_language.items())
    ]


def other_voices(speakers: Sequence[str], seed: int) -> list[int]:
    """For each utterance one of another speaker, drawn at random; empty where all are of one."""
    names = np.array(speakers)
    if len(set(speakers)) < 2:
        return []
    generator = np.random.default_rng(seed)
    return [int(generator.choice(np.flatnonzero(names != name))) for name in names]


READERS: Mapping[str, Callable[[str, int], list[TestSet]]] = {
    "librispeech": librispeech,
    "aishell-1": aishell_1,
    "seed-tts-eval": seed_tts_eval,
    "curated": curated,
    "tokens": tokens,
}


def _file(path: Path) -> Read:
    """How to read a file that must be there."""
    if not path.is_file():
        raise UserError(f"The test set names {path}, which is not there; a set is measured whole.")

    return lambda: read_speech(path)


def _curated_item(utterance: CuratedUtterance) -> Item:
    key, text = utterance.metadata["utterance_id"], utterance.metadata["text"]
    return Item(key, text, audio=lambda: as_speech(*utterance.decode()))


def _lines(path: Path) -> Iterable[str]:
    """Lines of a list that say something; raises UserError."""
    return (line.strip() for line in io.StringIO(read_text(path)) if line.strip())


def _drawn(items: tuple[Item, ...], limit: int | None, seed: int) -> tuple[Item, ...]:
    if limit is None or len(items) <= limit:
        return items
    drawn = np.random.default_rng(seed).choice(len(items), limit, replace=False)
    return tuple(items[number] for number in sorted(drawn.tolist()))
