"""BiCodec as other programs use it: waveforms to tokens and tokens to waveforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec.audio import mel_spectrogram, normalize_volume, reference_clip
from gpa.tokenize.bicodec.config import BiCodecConfig
from gpa.tokenize.bicodec.features import FRAME_SAMPLES, frame_count, standardize
from gpa.tokenize.bicodec.loading import Features, load_parts
from gpa.tokenize.bicodec.network import BiCodecNetwork
from gpa.tokenize.bicodec.padding import valid_mask
from gpa.tokenize.clips import SAMPLE_RATE, ClipError, as_channels, batches_by_length, resample
from gpa.tokenize.exact import exact_float32

Tokens = NDArray[np.int64]
Waveform = NDArray[np.float32]

TOKENS_PER_S = 50
MAX_BATCH_S = 120.0


@dataclass(frozen=True)
class BiCodecTokens:
    """Tokens of one clip: what is said, (tokens,), 50 a second, and who says it, (32,)."""

    semantic_tokens: Tokens
    global_tokens: Tokens


class BiCodec:
    """Encoder and decoder of BiCodec (Spark-TTS, arXiv:2503.01710, section 3.1).

    A batch gives what its clips give alone, up to float32 rounding. `max_batch_s` bounds memory:
    the seconds of audio, padding included, that are worked on at once, and so also the longest
    clip, since a clip can't be cut without changing its tokens.
    """

    def __init__(
        self,
        config: BiCodecConfig,
        network: BiCodecNetwork,
        features: Features,
        device: str | torch.device = "cpu",
        max_batch_s: float = MAX_BATCH_S,
    ) -> None:
        self.config = config
        self.network, self.features = network, features
        self.max_batch_s = max_batch_s
        self.to(device)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str | torch.device = "cpu",
        max_batch_s: float = MAX_BATCH_S,
    ) -> BiCodec:
        """Load a checkpoint in either published folder layout (see loading.py).

        Raises UserError naming every key that is missing, unexpected or wrongly shaped.
        """
        return cls(*load_parts(Path(folder)), device, max_batch_s)

    def to(self, device: str | torch.device) -> None:
        """Work on another device."""
        self.device = torch.device(device)
        self.network.to(self.device)
        self.features.to(self.device)

    def prepare(self, clip: int, waveform: ArrayLike, sample_rate: int) -> Waveform:
        """First channel at 16 kHz and at the common volume, shape (samples,).

        Raises ClipError, under the number `clip`, for what `as_channels` refuses and for clips
        shorter than 400 samples or longer than `max_batch_s`. Silence is fine.
        """
        samples = resample(as_channels(clip, waveform, sample_rate)[0], sample_rate)
        if len(samples) < FRAME_SAMPLES:
            raise ClipError(
                clip, f"it has {len(samples)} samples at 16 kHz and one token takes {FRAME_SAMPLES}"
            )
        if len(samples) > self.max_batch_s * SAMPLE_RATE:
            seconds = len(samples) / SAMPLE_RATE
            raise ClipError(
                clip, f"it lasts {seconds:.1f} s and max_batch_s is {self.max_batch_s:g}"
            )
        if self.config.volume_normalize:
            samples = normalize_volume(samples)
        return samples.astype(np.float32)

    def encode(self, waveforms: Sequence[ArrayLike], sample_rate: int) -> list[BiCodecTokens]:
        """Tokens of each clip, in order, the global ones from its own first 6 s.

        Waveforms are floating point, (samples,) or (channels, samples), of any lengths. Raises
        ClipError for the first clip that has no tokens, before any is encoded.
        """
        return self.encode_prepared(self._prepare_all(waveforms, sample_rate))

    def encode_prepared(self, clips: Sequence[Waveform]) -> list[BiCodecTokens]:
        """`encode` of what `prepare` returned, for callers that deal with unusable clips alone."""
        return [
            BiCodecTokens(semantic, global_)
            for semantic, global_ in zip(
                self._encode_semantic(clips), self._encode_global(clips), strict=True
            )
        ]

    def encode_global(self, waveforms: Sequence[ArrayLike], sample_rate: int) -> list[Tokens]:
        """Global tokens (32,) alone, as `encode` gives them, without a pass of wav2vec 2.0."""
        return self._encode_global(self._prepare_all(waveforms, sample_rate))

    def decode(self, semantic_tokens: ArrayLike, global_tokens: ArrayLike) -> Waveform:
        """Waveform (320 * tokens,) at 16 kHz of semantic (tokens,) and global (32,) tokens.

        Raises UserError for tokens that are out of range, no integers, or of another shape.
        """
        return self.decode_batch([semantic_tokens], [global_tokens])[0]

    def decode_batch(
        self, semantic_tokens: Sequence[ArrayLike], global_tokens: Sequence[ArrayLike]
    ) -> list[Waveform]:
        """`decode` of each pair, of any lengths, in order."""
        if len(semantic_tokens) != len(global_tokens):
            raise UserError(
                f"{len(semantic_tokens)} clips of semantic tokens and {len(global_tokens)} of "
                "global tokens were handed in; decoding takes one of each."
            )
        contents = [self.check_semantic(tokens) for tokens in semantic_tokens]
        speakers = [self.check_global(tokens) for tokens in global_tokens]
        waveforms = [np.zeros(0, np.float32) for _ in contents]
        spoken = [clip for clip, tokens in enumerate(contents) if len(tokens)]
        lengths = [len(contents[clip]) for clip in spoken]
        with exact_float32():
            for batch in batches_by_length(lengths, self._batch_tokens):
                clips = [spoken[position] for position in batch]
                rendered = self._render(
                    [contents[clip] for clip in clips], torch.stack([speakers[c] for c in clips])
                )
                for clip, waveform in zip(clips, rendered.cpu().numpy(), strict=True):
                    end = len(contents[clip]) * self.network.decoder.samples_per_token
                    waveforms[clip] = waveform[:end].copy()
        return waveforms

    def check_semantic(self, tokens: ArrayLike) -> Tensor:
        """Semantic tokens as a tensor (tokens,) on the device; raises UserError."""
        size = self.config.audio_tokenizer.quantizer.codebook_size
        return _checked("semantic", tokens, size).to(self.device)

    def check_global(self, tokens: ArrayLike) -> Tensor:
        """Global tokens as a tensor (32,) on the device; raises UserError."""
        size = self.network.speaker_encoder.quantizer.codebook_size
        checked = _checked("global", tokens, size).to(self.device)
        count = self.config.audio_tokenizer.speaker_encoder.token_num
        if len(checked) != count:
            raise UserError(f"A speaker is {count} global tokens, not {len(checked)}.")
        return checked

    @property
    def _batch_tokens(self) -> int:
        return int(self.max_batch_s * TOKENS_PER_S)

    def _prepare_all(self, waveforms: Sequence[ArrayLike], sample_rate: int) -> list[Waveform]:
        return [
            self.prepare(clip, waveform, sample_rate) for clip, waveform in enumerate(waveforms)
        ]

    def _encode_semantic(self, clips: Sequence[Waveform]) -> list[Tokens]:
        tokens: list[Tokens] = [np.zeros(0, np.int64) for _ in clips]
        counts = [frame_count(len(clip)) for clip in clips]
        with exact_float32():
            for batch in batches_by_length(counts, self._batch_tokens):
                lengths = [counts[clip] for clip in batch]
                latents = self.latents([clips[clip] for clip in batch])
                encoded = self.network.quantizer.encode(latents).cpu().numpy()
                for clip, row, length in zip(batch, encoded, lengths, strict=True):
                    tokens[clip] = row[:length].copy()
        return tokens

    def latents(self, clips: Sequence[Waveform]) -> Tensor:
        """What the quantizer looks up: (batch, channels, frames) of prepared clips, padded."""
        waveforms = [torch.from_numpy(standardize(clip)).to(self.device) for clip in clips]
        valid = valid_mask([frame_count(len(clip)) for clip in clips], self.device)
        return self.network.encoder(self.features(waveforms).transpose(1, 2), valid)

    def _encode_global(self, clips: Sequence[Waveform]) -> list[Tokens]:
        samples = self.config.reference_samples
        tokens: list[Tokens] = []
        clips_at_once = max(1, int(self.max_batch_s * SAMPLE_RATE) // samples)
        with exact_float32():
            for start in range(0, len(clips), clips_at_once):
                references = [
                    reference_clip(clip, samples) for clip in clips[start : start + clips_at_once]
                ]
                waveforms = torch.from_numpy(np.stack(references)).to(self.device)
                mel = mel_spectrogram(waveforms, self.config.audio_tokenizer.mel_params)
                tokens.extend(self.network.speaker_encoder.encode(mel).cpu().numpy())
        return tokens

    def _render(self, contents: list[Tensor], speakers: Tensor) -> Tensor:
        """Waveforms (batch, longest samples); beyond a clip's own end they are undefined."""
        valid = valid_mask([len(tokens) for tokens in contents], self.device)
        d_vectors = self.network.speaker_encoder.decode(speakers)
        features = self.network.prepare(pad_sequence(contents, True), d_vectors, valid)
        return self.network.decoder(features, valid)


def _checked(kind: str, tokens: ArrayLike, size: int) -> Tensor:
    """Tokens (tokens,) as int64; raises UserError."""
    array = np.asarray(tokens)
    if array.ndim != 1 or not (np.issubdtype(array.dtype, np.integer) or array.size == 0):
        raise UserError(
            f"The {kind} tokens have shape {array.shape} and type {array.dtype}; "
            "decoding takes one row of integers."
        )
    if array.size and not (array.min() >= 0 and array.max() < size):
        raise UserError(
            f"The {kind} tokens range from {array.min()} to {array.max()}; "
            f"BiCodec has 0 to {size - 1}."
        )
    return torch.from_numpy(array.astype(np.int64))
