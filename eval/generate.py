"""Make the model listen, speak and convert: requests in, text or speech out, whole or in pieces.

Recognition, synthesis and conversion are one loop (decoding.py) over different prompts
(prompts.py); what differs is which tokens an answer may hold and what is made of them.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import Field

from gpa.curation.audio import Waveform
from gpa.eval.decoding import Engine, Legal, Stopped, Token, TransformersEngine
from gpa.eval.prompts import Prompt, Prompter, Request
from gpa.eval.sampling import SamplingConfig
from gpa.eval.vllm import VLLMEngine
from gpa.runtime.config import Config
from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec import BiCodec, StreamingDecoder
from gpa.tokenize.clips import batches_by_length
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.sequences import TASKS, Task
from gpa.tokenize.vocabulary import Vocabulary
from gpa.tokenize.weights import TokenizerConfig, load_tokenizers
from gpa.train.sizes import load_model, model_config, size_of
from gpa.train.trainer import checkpoints


class GenerationConfig(Config):
    """Settings of each task, and how much is worked on at once."""

    asr: SamplingConfig
    tts: SamplingConfig
    vc: SamplingConfig
    seed: int = 0
    # What runs the model: "vllm" for throughput on a GPU (vllm.py).
    engine: Literal["transformers", "vllm"] = "transformers"
    # Bounds the KV cache: tokens of prompts and longest answers, padding included, in one batch.
    batch_tokens: int = Field(16_384, gt=0)
    # Semantic tokens, 50 a second, that a stream hands to the codec at a time.
    chunk_tokens: int = Field(25, gt=0)

    def sampling(self, task: Task) -> SamplingConfig:
        """The settings of a task."""
        return {"asr": self.asr, "tts": self.tts, "vc": self.vc}[task]


@dataclass(frozen=True)
class Result:
    """An answer: `text` of recognition, or `waveform` (samples,) at 16 kHz of the other two."""

    text: str | None
    waveform: Waveform | None
    new_tokens: int  # the end token included
    stopped: Stopped


class Generator:
    """A model with its tokenizers. `trained` says whether the tokenizers' tokens mean anything."""

    def __init__(
        self,
        engine: Engine,
        vocabulary: Vocabulary,
        bicodec: BiCodec,
        glm: GLMTokenizer,
        config: GenerationConfig,
        trained: bool,
    ) -> None:
        self._engine = engine
        self.config = config
        self.trained = trained
        self._vocabulary = vocabulary
        self._bicodec = bicodec
        self._prompter = Prompter(bicodec, glm, vocabulary)

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        tokenizers: TokenizerConfig,
        config: GenerationConfig,
        device: str = "cpu",
    ) -> Generator:
        """Load a checkpoint that training wrote, or the released one; raises UserError.

        A run's folder stands for its last checkpoint.
        """
        checkpoint = [checkpoint, *checkpoints(checkpoint)][-1]
        size = size_of(checkpoint)
        vocabulary = Vocabulary.beside(checkpoint)
        bicodec, glm = load_tokenizers(tokenizers)
        engine: Engine
        if config.engine == "vllm":
            engine = VLLMEngine(checkpoint, model_config(size).max_position_embeddings)
        else:
            model = load_model(size, checkpoint, attn_implementation="sdpa")
            model.to(device)  # type: ignore[arg-type]  # transformers wraps it and hides `self`
            engine = TransformersEngine(model)
        return cls(engine, vocabulary, bicodec, glm, config, tokenizers.trained)

    def generate(self, requests: Sequence[Request]) -> list[Result]:
        """Answer all requests, in order, those of one task in batches of similar length.

        An answer is the one that the request has alone. Raises UserError for the first request
        that can't be worked on, before anything is generated.
        """
        prompts = [self._prompt(request) for request in requests]
        results: dict[int, Result] = {}
        for task in TASKS:
            longest = self.config.sampling(task).max_new_tokens
            chosen = [number for number, prompt in enumerate(prompts) if prompt.task == task]
            lengths = [len(prompts[number].ids) + longest for number in chosen]
            for batch in batches_by_length(lengths, self.config.batch_tokens):
                numbers = [chosen[position] for position in batch]
                answers = self._answers([prompts[number] for number in numbers])
                results.update(zip(numbers, answers, strict=True))
        return [results[number] for number in range(len(prompts))]

    def stream(self, request: Request) -> abc.Generator[str | Waveform, None, None]:
        """Pieces of the answer as soon as they are final: text, or samples at 16 kHz.

        Together they are the whole answer. Raises UserError at once for a request that can't be
        worked on. Closing the iterator stops generation and frees its memory.
        """
        return self._pieces(self._prompt(request))

    def _prompt(self, request: Request) -> Prompt:
        prompt = self._prompter.prompt(request)
        context = self._engine.context
        if len(prompt.ids) >= context:
            raise UserError(
                f"The prompt takes {len(prompt.ids):,} tokens, and the model's context of "
                f"{context:,} leaves no room for an answer; make text or audio shorter."
            )
        return prompt

    def _decode(self, prompts: Sequence[Prompt]) -> abc.Generator[Token, None, None]:
        """Tokens of prompts of one task."""
        task = prompts[0].task
        return self._engine.decode(
            [prompt.ids for prompt in prompts],
            Legal.of(task, self._vocabulary.structure),
            self.config.sampling(task),
            [(self.config.seed, prompt.seed) for prompt in prompts],
        )

    def _answers(self, prompts: Sequence[Prompt]) -> list[Result]:
        """Whole answers to prompts of one task, all at once."""
        tokens: list[list[Token]] = [[] for _ in prompts]
        for token in self._decode(prompts):
            tokens[token.row].append(token)
        codes = [list(_codes(row)) for row in tokens]
        texts: list[str | None] = [None for _ in prompts]
        waveforms: list[Waveform | None] = [None for _ in prompts]
        voices = [prompt.voice for prompt in prompts if prompt.voice is not None]
        if voices:
            waveforms = [*self._bicodec.decode_batch(codes, voices)]
        else:
            texts = ["".join(self._vocabulary.decode_pieces(row)) for row in codes]
        return [
            Result(text, waveform, len(row), row[-1].stopped or "end")
            for text, waveform, row in zip(texts, waveforms, tokens, strict=True)
        ]

    def _pieces(self, prompt: Prompt) -> abc.Generator[str | Waveform, None, None]:
        with closing(self._decode([prompt])) as tokens:
            if prompt.voice is None:
                yield from self._vocabulary.decode_pieces(_codes(tokens))
            else:
                decoder = StreamingDecoder(self._bicodec, prompt.voice)
                yield from _spoken(_codes(tokens), decoder, self.config.chunk_tokens)


def _codes(tokens: Iterable[Token]) -> Iterator[int]:
    """The codes of one row's tokens, without its end."""
    return (token.code for token in tokens if token.code is not None)


def _spoken(
    codes: Iterator[int], decoder: StreamingDecoder, chunk_tokens: int
) -> Iterator[Waveform]:
    """Samples as they become final, `chunk_tokens` tokens at a time."""
    while chunk := list(islice(codes, chunk_tokens)):
        samples = decoder.push(chunk)
        if len(samples):
            yield samples
    samples = decoder.finish()
    if len(samples):
        yield samples
