"""The Montreal Forced Aligner through its command line (MFA 3), where it is installed.

MFA's Kaldi comes from conda-forge alone, so it lives in an environment of its own:
`conda create -n aligner -c conda-forge montreal-forced-aligner`, then
`mfa model download acoustic english_mfa` and the same for `dictionary`.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import soundfile
from pydantic import Field

from gpa.curation.audio import resample
from gpa.curation.models.align.spoken import spoken_words, timed_words
from gpa.curation.models.protocols import Model, Waveform, Word, WordAlignment
from gpa.curation.models.weights import sha256_of
from gpa.curation.text.languages import ByLanguage
from gpa.runtime.config import Config
from gpa.runtime.errors import UserError
from gpa.runtime.interpreter import run
from gpa.runtime.models import Facts, ModelConfig, Weights

SAMPLE_RATE = 16000
SUFFIXES = {"acoustic": ".zip", "dictionary": ".dict", "g2p": ".zip"}
SILENCE_LABELS = frozenset({"", "<eps>", "sil", "sp"})


class MFAModels(Config):
    """Models of one language: names of downloaded models, or paths of files."""

    acoustic: str
    dictionary: str
    g2p: str | None = None  # pronounces words that the dictionary lacks


class MFAConfig(ModelConfig):
    """The `mfa` command."""

    model: Literal["mfa"]
    # Name of, or path to, the program; with an environment it is run by `conda run`.
    executable: str = "mfa"
    conda_environment: str | None = None
    # Where `mfa model download` puts models; MFA's own default.
    models_folder: str = "~/Documents/MFA/pretrained_models"
    # By language, ISO 639-1.
    languages: ByLanguage[MFAModels] = Field(
        default={"en": MFAModels(acoustic="english_mfa", dictionary="english_mfa")}
    )
    jobs: int = Field(default=1, gt=0)
    timeout_s: float = Field(default=3600.0, gt=0)  # for one batch of one language


class MFAAligner(Model[MFAConfig]):
    """Aligner of all languages for which the config names models; gives no score."""

    def facts(self) -> Facts:
        weights = [
            self._weights(kind, name)
            for models in self.config.languages.values()
            for kind, name in models
            if name
        ]
        try:
            version = run([*self._program(), "version"], timeout_s=120)
        except subprocess.SubprocessError as error:
            raise UserError(
                f"`mfa version` does not run: {_what_happened(error)}; install MFA from "
                "conda-forge and name its environment in punctuate.aligner.conda_environment."
            ) from None
        return Facts(
            model="Montreal Forced Aligner",
            library=f"MFA {version.strip().splitlines()[-1] if version.strip() else 'unknown'}",
            licence="MIT",
            weights=tuple(weights),
            languages=frozenset(self.config.languages),
            memory_mb=2000,
        )

    def load(self) -> None:
        """Nothing stays in memory: every batch is a process of its own."""

    def align(
        self,
        waveforms: Sequence[Waveform],
        sample_rate: int,
        words: Sequence[Sequence[str]],
        languages: Sequence[str],
    ) -> list[WordAlignment]:
        """Times of each utterance's words, a call of `mfa align` for each language.

        Raises UserError where MFA says that a model is missing.
        """
        found: dict[int, WordAlignment] = {}
        for language in sorted(set(languages)):
            batch = [index for index, each in enumerate(languages) if each == language]
            if language not in self.config.languages:
                found |= dict.fromkeys(batch, WordAlignment(error=f"no aligner for {language}"))
                continue
            spoken = {
                index: [spoken_words(word, language) or [word.lower()] for word in words[index]]
                for index in batch
            }
            with tempfile.TemporaryDirectory(prefix="gpa-mfa-") as folder:
                corpus = Path(folder) / "corpus"
                for index in batch:
                    clip = resample(waveforms[index], sample_rate, SAMPLE_RATE)
                    write_utterance(corpus, _key(index), clip, spoken[index])
                problem = self._run(Path(folder), language)
                for index in batch:
                    output = Path(folder) / "aligned" / f"{_key(index)}.json"
                    if not output.is_file():
                        found[index] = WordAlignment(error=problem or "MFA left it unaligned")
                        continue
                    try:
                        found[index] = map_back(words[index], spoken[index], read_words(output))
                    except (KeyError, ValueError) as error:  # cut off where MFA was ended
                        found[index] = WordAlignment(
                            error=problem or f"MFA's output cannot be read: {error}"
                        )
        return [found[index] for index in range(len(words))]

    def _run(self, folder: Path, language: str) -> str | None:
        """Run `mfa align` over a corpus; what went wrong, where something did."""
        models = self.config.languages[language]
        command = [
            *self._program(),
            "align",
            str(folder / "corpus"),
            str(self._file("dictionary", models.dictionary)),
            str(self._file("acoustic", models.acoustic)),
            str(folder / "aligned"),
            *("--output_format", "json"),
            *("--temporary_directory", str(folder / "work")),
            "--single_speaker",
            "--clean",
            "--overwrite",
            *("-j", str(self.config.jobs)),
        ]
        if models.g2p:
            command += ["--g2p_model_path", str(self._file("g2p", models.g2p))]
        try:
            run(command, self.config.timeout_s)
        except subprocess.SubprocessError as error:
            happened = _what_happened(error)
            if "could not find a model" in happened.lower() or "ModelError" in happened:
                raise UserError(
                    f"MFA lacks a model for {language}; run `mfa model download`. {happened}"
                ) from None
            return happened
        return None

    def _program(self) -> list[str]:
        """How `mfa` is started; raises UserError where there is no such program."""
        first = "conda" if self.config.conda_environment else self.config.executable
        found = shutil.which(Path(first).expanduser())
        if found is None:
            raise UserError(
                f"There is no program {first!r} for the aligner mfa; install MFA from conda-forge, "
                "or use the aligner pocketsphinx."
            )
        if self.config.conda_environment is None:
            return [found]
        environment = self.config.conda_environment
        return [found, "run", "--no-capture-output", "-n", environment, self.config.executable]

    def _file(self, kind: str, name: str) -> Path:
        """A model's file, from a path or among the downloaded ones; UserError if there is none."""
        folder = Path(self.config.models_folder).expanduser() / kind
        downloaded = folder / f"{name}{SUFFIXES[kind]}"
        for candidate in (Path(name).expanduser(), downloaded):
            if candidate.is_file():
                return candidate
        raise UserError(
            f"MFA's {kind} model {name!r} is not there; run `mfa model download {kind} {name}`, "
            "or give the path of its file."
        )

    def _weights(self, kind: str, name: str) -> Weights:
        file = self._file(kind, name)
        return Weights(f"{kind}/{name}", "folder", str(file), sha256_of(file), "see its model card")


def write_utterance(
    corpus: Path, key: str, waveform: Waveform, spoken: Sequence[Sequence[str]]
) -> None:
    """One utterance of an MFA corpus: KEY.wav at 16 kHz and KEY.lab with the spoken words."""
    corpus.mkdir(parents=True, exist_ok=True)
    soundfile.write(corpus / f"{key}.wav", waveform, SAMPLE_RATE, subtype="PCM_16")
    text = " ".join(part for parts in spoken for part in parts)
    (corpus / f"{key}.lab").write_text(text + "\n", encoding="utf-8")


def read_words(path: Path) -> list[Word]:
    """Words that MFA wrote to a JSON file, in order of time.

    Silences are passed over, be they gaps, empty labels or `<eps>`. Where the file has tiers of
    several speakers ("anna - words") their words are merged. Raises ValueError without such a
    tier, KeyError where the file is of another kind.
    """
    tiers = json.loads(path.read_text(encoding="utf-8"))["tiers"]
    chosen = [name for name in tiers if name == "words" or name.endswith(" - words")]
    if not chosen:
        raise ValueError(f"{path.name} has no tier of words, only {', '.join(tiers) or 'nothing'}")
    found = [
        Word(label.strip(), float(start), float(end))
        for name in chosen
        for start, end, label in tiers[name]["entries"]
        if label.strip() not in SILENCE_LABELS
    ]
    return sorted(found, key=lambda word: (word.start_s, word.end_s))


def map_back(
    written: Sequence[str], spoken: Sequence[Sequence[str]], aligned: Sequence[Word]
) -> WordAlignment:
    """Times of the written words from those of MFA's words.

    MFA keeps the words it was given (an unknown one as `<unk>`), or cuts the text its own way, as
    it does for scripts without spaces: then characters are matched, and one inside a longer word
    of MFA's gets its share of that word's time.
    """
    parts = [part for word in spoken for part in word]
    if len(aligned) == len(parts):
        times = [(word.start_s, word.end_s) for word in aligned]
        return WordAlignment(timed_words(written, spoken, times))
    if "".join(parts) != "".join(word.word for word in aligned):
        return WordAlignment(error=f"MFA aligned {len(aligned)} words, {len(parts)} were spoken")
    edges = [
        (
            word.start_s + (word.end_s - word.start_s) * place / len(word.word),
            word.start_s + (word.end_s - word.start_s) * (place + 1) / len(word.word),
        )
        for word in aligned
        for place in range(len(word.word))
    ]
    times, position = [], 0
    for part in parts:
        times.append((edges[position][0], edges[position + len(part) - 1][1]))
        position += len(part)
    return WordAlignment(timed_words(written, spoken, times))


def _what_happened(error: subprocess.SubprocessError) -> str:
    """How MFA ended and the last that it said, on one line."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"MFA took more than {error.timeout:g} s"
    assert isinstance(error, subprocess.CalledProcessError)
    status = error.returncode
    # By a signal: as Python counts it, or as a shell or `conda run` in between does.
    killed_by = -status if status < 0 else status - 128
    if killed_by in set(signal.Signals):
        ended = f"MFA was killed by {signal.Signals(killed_by).name}"
        if killed_by == signal.SIGKILL:
            ended += ", as when memory runs out"
    else:
        ended = f"MFA exited with status {status}"
    said = " ".join(str(error.stderr or error.output).split())[-300:]
    return f"{ended}: {said}" if said else ended


def _key(index: int) -> str:
    return f"utterance{index:06d}"
