"""What of a corpus also stands in a test set, by its text or by its audio (`--contamination DIR`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from gpa.curation import audio
from gpa.curation.audio import DecodeError, Waveform
from gpa.curation.curated import CuratedUtterance
from gpa.curation.export.fingerprint import Fingerprints
from gpa.curation.text.units import is_character, units
from gpa.runtime.config import digest, read_text
from gpa.runtime.errors import UserError

AUDIO = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a"})
# So many words in a row are no coincidence; a character says half as much as a word.
_WORDS, _CHARACTERS = 8, 16
# A text of fewer units is said by anyone ("thank you very much").
_SHORTEST = 5


@dataclass(frozen=True)
class Match:
    """An utterance that is left out: by "text" or "audio", and where in the test set it stands."""

    utterance_id: str
    by: str
    found_in: str


@dataclass
class TestSet:
    """The texts and the recordings below a folder, by where they stand."""

    __test__ = False  # no test of pytest's

    texts: Mapping[str, str]
    recordings: Mapping[str, Path]
    _grams: dict[str, dict[tuple[str, ...], str]] = field(default_factory=dict)

    @cached_property
    def identity(self) -> str:
        """Changes with what is in it; a recording counts with its size and time of change."""
        stats = {name: path.stat() for name, path in self.recordings.items()}
        stamps = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
        return digest([dict(self.texts), stamps])

    @cached_property
    def _fingerprints(self) -> Fingerprints:
        return Fingerprints.of(self._clips())

    def _clips(self) -> Iterator[tuple[str, Waveform, int]]:
        for name, path in self.recordings.items():
            try:
                waveform, rate = audio.decode(str(path))
            except DecodeError as error:
                raise UserError(f"{path} of the test set can't be decoded: {error}.") from None
            yield name, audio.mix_down(waveform), rate

    def match(self, utterance: CuratedUtterance) -> Match | None:
        """Whether an utterance stands in it, by text first."""
        about = utterance.metadata
        by_text = self.find_text(about["text"], about["language"])
        if by_text is not None:
            return Match(about["utterance_id"], "text", by_text)
        sound = heard(utterance) if self.recordings else None
        by_audio = self._fingerprints.find(*sound) if sound else None
        return Match(about["utterance_id"], "audio", by_audio) if by_audio else None

    def find_text(self, text: str, language: str) -> str | None:
        """Where the text stands: wholly, or eight words (sixteen characters) of it in a row."""
        if language not in self._grams:
            # What no manifest gives a language is read as the utterance is.
            self._grams[language] = {
                gram: name
                for name, said in self.texts.items()
                for gram in stretches(said, language)
            }
        known = self._grams[language]
        return next((known[gram] for gram in stretches(text, language) if gram in known), None)


def heard(utterance: CuratedUtterance) -> tuple[Waveform, int] | None:
    """Its samples and their rate; None where it holds no sound that could be a copy."""
    try:
        samples, rate = utterance.decode()
    except ValueError:
        return None
    return np.ascontiguousarray(samples[0]), rate


def stretches(text: str, language: str) -> Iterator[tuple[str, ...]]:
    """What tells a text: eight words (sixteen characters) in a row, or all of five to seven."""
    said = units(text, language)
    if len(said) < _SHORTEST:
        return
    alone = sum(map(is_character, said)) > len(said) / 2
    size = min(len(said), _CHARACTERS if alone else _WORDS)
    for first in range(len(said) - size + 1):
        yield said[first : first + size]


def read_test_set(folder: Path) -> TestSet:
    """The test set below a folder; raises UserError where there is none.

    Texts are read from LibriSpeech's `*.trans.txt`, seed-tts-eval's `*.lst` and JSON lines with
    `text` (`*.jsonl`); recordings are told by their names.
    """
    texts: dict[str, str] = {}
    recordings: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.suffix.lower() in AUDIO:
            recordings[name] = file
        elif name.endswith((".trans.txt", ".lst", ".jsonl")) and file.is_file():
            lines = read_text(file).split("\n")
            for number, line in enumerate(lines, start=1):
                for place, text in enumerate(_texts(name, line)):
                    texts[f"{name}, line {number}" + (", prompt" if place else "")] = text
    if not texts and not recordings:
        raise UserError(
            f"{folder} holds no test set: neither recordings nor texts (*.trans.txt of LibriSpeech, "
            "*.lst of seed-tts-eval, *.jsonl with `text`)."
        )
    return TestSet(texts, recordings)


def _texts(name: str, line: str) -> Iterator[str]:
    """The texts in a line, the prompt's last."""
    if not line.strip():
        return
    if name.endswith(".trans.txt"):
        yield line.partition(" ")[2]
    elif name.endswith(".lst"):
        fields = line.split("|")
        yield from (fields[place] for place in (3, 1) if place < len(fields))
    else:
        try:
            text = json.loads(line).get("text")
        except (ValueError, AttributeError):
            raise UserError(f"{name} of the test set has a line that is no JSON object.") from None
        if isinstance(text, str):
            yield text
