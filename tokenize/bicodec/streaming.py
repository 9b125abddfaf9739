"""Decoding while the tokens are still being made."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec.model import BiCodec
from gpa.tokenize.exact import exact_float32


class StreamingDecoder:
    """Emits each sample once, as soon as no later token can change it.

    Together the pieces are what `BiCodec.decode` gives for all tokens, up to float32 rounding.
    A sample waits for 67 tokens (1.34 s) in the published model: 57 that the prenet looks ahead
    and 10 that the wave generator does. The wave generator, which costs the most, renders every
    token once and 20 tokens of context a call, so push some tens of tokens at a time.
    """

    def __init__(self, codec: BiCodec, global_tokens: ArrayLike) -> None:
        self._codec = codec
        with exact_float32():
            speaker = codec.check_global(global_tokens)[None]
            self._d_vector = codec.network.speaker_encoder.decode(speaker)
        self._tokens = torch.zeros(0, dtype=torch.long, device=codec.device)
        self._tokens_start = 0
        channels = codec.config.audio_tokenizer.decoder.input_channel
        self._features = torch.zeros(1, channels, 0, device=codec.device)
        self._features_start = 0
        self._prepared = 0
        self._rendered = 0
        self._finished = False

    def push(self, semantic_tokens: ArrayLike) -> NDArray[np.float32]:
        """Take more tokens (tokens,); returns the samples that are now final, maybe none."""
        return self._advance(semantic_tokens, last=False)

    def finish(self) -> NDArray[np.float32]:
        """The samples that were still waiting; nothing can be pushed afterwards."""
        waveform = self._advance([], last=True)
        self._finished = True
        return waveform

    def _advance(self, semantic_tokens: ArrayLike, last: bool) -> NDArray[np.float32]:
        if self._finished:
            raise UserError("This stream is finished; make a new StreamingDecoder.")
        pushed = self._codec.check_semantic(semantic_tokens)
        self._tokens = torch.cat([self._tokens, pushed])
        with exact_float32():
            self._prepare(last)
            return self._render(last).cpu().numpy()

    def _prepare(self, last: bool) -> None:
        """Extend the features as far as the tokens at hand make them final."""
        network = self._codec.network
        reach = network.prenet.reach
        end = self._tokens_start + len(self._tokens)
        final = end if last else max(self._prepared, end - reach)
        if final > self._prepared:
            window = network.prepare(self._tokens[None], self._d_vector)
            new = slice(self._prepared - self._tokens_start, final - self._tokens_start)
            self._features = torch.cat([self._features, window[:, :, new]], dim=2)
            self._prepared = final
        start = max(0, final - reach)
        self._tokens = self._tokens[start - self._tokens_start :]
        self._tokens_start = start

    def _render(self, last: bool) -> Tensor:
        """Samples of the tokens that the features at hand make final."""
        generator = self._codec.network.decoder
        reach = generator.reach
        final = self._prepared if last else max(self._rendered, self._prepared - reach)
        if final == self._rendered:
            return torch.zeros(0)
        waveform = generator(self._features)[0]
        begin, end = (
            (token - self._features_start) * generator.samples_per_token
            for token in (self._rendered, final)
        )
        self._rendered = final
        start = max(0, final - reach)
        self._features = self._features[:, :, start - self._features_start :]
        self._features_start = start
        return waveform[begin:end].clone()
