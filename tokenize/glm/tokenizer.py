"""The GLM-4-Voice tokenizer as other programs use it: waveforms to tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gpa.runtime.errors import UserError
from gpa.tokenize.checkpoint import load_strictly, read_tensors
from gpa.tokenize.clips import SAMPLE_RATE, ClipError, as_channels, batches_by_length, resample
from gpa.tokenize.exact import exact_float32
from gpa.tokenize.glm.config import GLMConfig, read_config
from gpa.tokenize.glm.encoder import WhisperVQEncoder
from gpa.tokenize.glm.features import (
    CHUNK_SAMPLES,
    TOKEN_SAMPLES,
    chunks,
    log_mels,
    step_count,
    token_count,
)

Tokens = NDArray[np.int64]
Waveform = NDArray[np.float32]

# Some exports keep the encoder inside a whole model.
PREFIX = "model.encoder."

# The folder's name inside the GPA release, whose root holds files of the same names.
RELEASED = "glm-4-voice-tokenizer"
# The small one, which comes with the package.
SMALL_GLM = Path(__file__).parent / "small"

# Larger batches pay on a GPU; on one CPU core this is the fastest.
MAX_BATCH_S = 30.0


def find_folder(folder: Path) -> Path:
    """The tokenizer's own folder: this one, or the one in a GPA release; raises UserError."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder} to load the GLM tokenizer from.")
    return folder / RELEASED if (folder / RELEASED).is_dir() else folder


class GLMTokenizer:
    """Semantic tokens, 12.5 a second (GLM-4-Voice, arXiv:2412.02612, section 3.1).

    A batch gives what its clips give alone, up to float32 rounding. `max_batch_s` bounds memory:
    the seconds of audio, padding included, that are worked on at once, never less than one chunk
    of 30 s. Clips may be of any length, since chunks do not see each other.
    """

    def __init__(
        self,
        config: GLMConfig,
        encoder: WhisperVQEncoder,
        device: str | torch.device = "cpu",
        max_batch_s: float = MAX_BATCH_S,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.encoder = encoder.to(self.device)
        self.max_batch_s = max_batch_s

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str | torch.device = "cpu",
        max_batch_s: float = MAX_BATCH_S,
    ) -> GLMTokenizer:
        """Load `config.json`, `preprocessor_config.json` and `model.safetensors` of a folder.

        Raises UserError naming every key that is missing, unexpected or wrongly shaped.
        """
        folder = find_folder(Path(folder))
        config = read_config(folder)
        with torch.device("meta"):
            encoder = WhisperVQEncoder(config)
        tensors = {key.removeprefix(PREFIX): value for key, value in read_tensors(folder).items()}
        load_strictly(encoder, tensors, folder)
        return cls(config, encoder, device, max_batch_s)

    def prepare(self, clip: int, waveform: ArrayLike, sample_rate: int) -> Waveform:
        """Mean of the channels at 16 kHz, shape (samples,).

        Raises ClipError, under the number `clip`, for what `as_channels` refuses. Silence and
        the shortest of clips are fine.
        """
        mono = as_channels(clip, waveform, sample_rate).mean(axis=0)
        samples = resample(mono, sample_rate)
        if len(samples) == 0:
            raise ClipError(clip, "nothing of it is left at 16 kHz")
        return samples.astype(np.float32)

    def encode(self, waveforms: Sequence[ArrayLike], sample_rate: int) -> list[Tokens]:
        """Tokens of each clip, in order: one for each begun 80 ms of each chunk of 30 s.

        Waveforms are floating point, (samples,) or (channels, samples), of any lengths. Raises
        ClipError for the first clip that has no tokens, before any is encoded.
        """
        return self.encode_prepared(
            [self.prepare(clip, waveform, sample_rate) for clip, waveform in enumerate(waveforms)]
        )

    def encode_prepared(self, clips: Sequence[Waveform]) -> list[Tokens]:
        """`encode` of what `prepare` returned, for callers that deal with unusable clips alone."""
        pieces = [chunks(clip) for clip in clips]
        tokens = iter(self._encode_chunks([piece for clip in pieces for piece in clip]))
        return [np.concatenate([next(tokens) for _ in clip]) for clip in pieces]

    def states(self, pieces: Sequence[Waveform]) -> Tensor:
        """What is looked up: (batch, tokens, dim) of chunks at 16 kHz, padded."""
        tensors = [torch.from_numpy(piece).to(self.device) for piece in pieces]
        mels = log_mels(tensors, self.config.num_mel_bins)
        return self.encoder(mels, [step_count(len(piece)) for piece in pieces])

    def _encode_chunks(self, pieces: Sequence[Waveform]) -> list[Tokens]:
        tokens: list[Tokens] = [np.zeros(0, np.int64) for _ in pieces]
        counts = [token_count(len(piece)) for piece in pieces]
        at_once = max(int(self.max_batch_s * SAMPLE_RATE), CHUNK_SAMPLES) // TOKEN_SAMPLES
        with exact_float32():
            for batch in batches_by_length(counts, at_once):
                encoded = self.encoder.quantize(self.states([pieces[chunk] for chunk in batch]))
                for chunk, row in zip(batch, encoded.cpu().numpy(), strict=True):
                    tokens[chunk] = row[: counts[chunk]].copy()
        return tokens
