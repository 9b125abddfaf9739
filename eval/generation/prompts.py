"""What the model is asked, as ids: requests with text and audio to prompts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from gpa.curation.audio import Waveform, mix_down, repair
from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.bicodec.model import Tokens
from gpa.tokenize.clips import SAMPLE_RATE, ClipError, resample
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.sequences import Task, asr_prompt, tts_continued_prompt, tts_prompt, vc_prompt
from gpa.tokenize.vocabulary import Ids, Vocabulary
from gpa.train.generation.language_model import Prompt

# A clip whose peak stays below this, -60 dB of full scale, says nothing and has no voice.
SILENT_PEAK = 1e-3


@dataclass(frozen=True)
class Request:
    """One thing to do: "asr" takes `audio`, "tts" `text` and `voice`, "vc" `audio` and `voice`.

    Waveforms are float32, mono, (samples,) at 16 kHz in [-1, 1]; `voice` is speech of whoever is
    to be heard. With `voice_text`, what `voice` says, synthesis goes on from it. `seed` tells apart answers that are drawn.
    """

    task: Task
    text: str | None = None
    voice: Waveform | None = None
    audio: Waveform | None = None
    seed: int = 0
    voice_text: str | None = None


def as_speech(channels: Waveform, sample_rate: int) -> Waveform:
    """A decoded recording (channels, samples) as requests hold it: mono at 16 kHz, (samples,)."""
    mono = mix_down(repair(channels)[0])
    return resample(mono.astype(np.float64), sample_rate).astype(np.float32)


class Prompter:
    """Makes prompts as training makes them."""

    def __init__(self, bicodec: BiCodec, glm: GLMTokenizer, vocabulary: Vocabulary) -> None:
        self._bicodec = bicodec
        self._glm = glm
        self._vocabulary = vocabulary

    def prompt(self, request: Request) -> Prompt:
        """The prompt of a request; raises UserError for what the task can't work with."""
        structure = self._vocabulary.structure
        if request.task == "asr":
            audio = _speech("audio", request.audio)
            glm = self._glm_tokens(audio)
            ids = asr_prompt(structure, glm, self._semantic_tokens(audio))
            return Prompt(request.task, ids, None, request.seed)
        reference = _speech("voice", request.voice)
        voice = self._global_tokens(reference)
        if request.task == "tts":
            text = self._text("text to say", request.text)
            if request.voice_text is None:
                ids = tts_prompt(structure, voice, text)
            else:
                said = self._text("text of the voice", request.voice_text)
                codes = self._semantic_tokens(reference)
                ids = tts_continued_prompt(structure, voice, said, codes, text)
        else:
            audio = _speech("audio", request.audio)
            ids = vc_prompt(structure, voice, self._semantic_tokens(audio))
        return Prompt(request.task, ids, voice, request.seed)

    def _text(self, name: str, text: str | None) -> Ids:
        ids = self._vocabulary.encode_text(text or "")
        if not len(ids):
            raise UserError(f"There is no {name}; write at least a word.")
        return ids

    def _semantic_tokens(self, audio: Waveform) -> Tokens:
        with _tokenizing("audio"):
            return self._bicodec.encode([audio], SAMPLE_RATE)[0].semantic_tokens

    def _global_tokens(self, voice: Waveform) -> Tokens:
        with _tokenizing("voice"):
            return self._bicodec.encode_global([voice], SAMPLE_RATE)[0]

    def _glm_tokens(self, audio: Waveform) -> Tokens:
        with _tokenizing("audio"):
            return self._glm.encode([audio], SAMPLE_RATE)[0]


@contextmanager
def _tokenizing(name: str) -> Iterator[None]:
    try:
        yield
    except ClipError as error:
        raise UserError(f"The {name} can't be tokenized: {error.reason}.") from None


def _speech(name: str, waveform: Waveform | None) -> Waveform:
    """A waveform that may hold speech; raises UserError."""
    if waveform is None:
        raise UserError(f"There is no {name}; hand in a recording of speech.")
    if waveform.size and np.abs(waveform).max() < SILENT_PEAK:
        raise UserError(f"The {name} is silent; hand in a recording of speech.")
    return waveform
