"""Make the model listen, speak and convert: requests in, text or speech out, whole or in pieces.

Recognition, synthesis and conversion are one model (train/generation/) with different prompts
(prompts.py); what differs is which tokens an answer may hold and what is made of them.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from gpa.curation.audio import Waveform
from gpa.eval.generation.prompts import Prompter, Request
from gpa.tokenize.bicodec import BiCodec, StreamingDecoder
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.weights import TokenizerConfig, load_tokenizers
from gpa.train.generation.decoding import Stopped, Token
from gpa.train.generation.language_model import GenerationConfig, LanguageModel, Prompt, codes


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
        self, model: LanguageModel, bicodec: BiCodec, glm: GLMTokenizer, trained: bool
    ) -> None:
        self._model = model
        self.trained = trained
        self._bicodec = bicodec
        self._prompter = Prompter(bicodec, glm, model.vocabulary)

    @classmethod
    def load(
        cls, checkpoint: Path, tokenizers: TokenizerConfig, config: GenerationConfig
    ) -> Generator:
        """Load a checkpoint (`LanguageModel.load`) on the device of its tokenizers."""
        model = LanguageModel.load(checkpoint, config, tokenizers.device)
        return cls(model, *load_tokenizers(tokenizers), tokenizers.trained)

    def generate(self, requests: Sequence[Request]) -> list[Result]:
        """Answer all requests, in order, those of one task in batches of similar length.

        An answer is the one that the request has alone. Raises UserError for the first request
        that can't be worked on, before anything is generated.
        """
        prompts = [self._prompt(request) for request in requests]
        results: dict[int, Result] = {}
        for numbers, answered in self._model.answers(prompts):
            made = self._results([prompts[number] for number in numbers], answered)
            results.update(zip(numbers, made, strict=True))
        return [results[number] for number in range(len(prompts))]

    def stream(self, request: Request) -> abc.Generator[str | Waveform, None, None]:
        """Pieces of the answer as soon as they are final: text, or samples at 16 kHz.

        Together they are the whole answer. Raises UserError at once for a request that can't be
        worked on. Closing the iterator stops generation and frees its memory.
        """
        return self._pieces(self._prompt(request))

    def _prompt(self, request: Request) -> Prompt:
        prompt = self._prompter.prompt(request)
        self._model.check(prompt)
        return prompt

    def _results(
        self, prompts: Sequence[Prompt], answered: Sequence[Sequence[Token]]
    ) -> list[Result]:
        """What prompts of one task are answered, out of the tokens."""
        texts: list[str | None] = [None for _ in prompts]
        waveforms: list[Waveform | None] = [None for _ in prompts]
        voices = [prompt.voice for prompt in prompts if prompt.voice is not None]
        if voices:
            spoken = [[*codes(tokens)] for tokens in answered]
            waveforms = [*self._bicodec.decode_batch(spoken, voices)]
        else:
            texts = [self._model.text(tokens) for tokens in answered]
        return [
            Result(text, waveform, len(tokens), tokens[-1].stopped or "end")
            for text, waveform, tokens in zip(texts, waveforms, answered, strict=True)
        ]

    def _pieces(self, prompt: Prompt) -> abc.Generator[str | Waveform, None, None]:
        with closing(self._model.decode([prompt])) as tokens:
            if prompt.voice is None:
                yield from self._model.vocabulary.decode_pieces(codes(tokens))
            else:
                decoder = StreamingDecoder(self._bicodec, prompt.voice)
                yield from _spoken(codes(tokens), decoder, self._model.config.chunk_tokens)


def _spoken(
    semantic_codes: Iterator[int], decoder: StreamingDecoder, chunk_tokens: int
) -> Iterator[Waveform]:
    """Samples as they become final, `chunk_tokens` tokens at a time."""
    while chunk := list(islice(semantic_codes, chunk_tokens)):
        samples = decoder.push(chunk)
        if len(samples):
            yield samples
    samples = decoder.finish()
    if len(samples):
        yield samples
