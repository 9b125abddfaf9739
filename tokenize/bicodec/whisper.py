"""States of a Whisper, a small codec's ear: what is said is plain in them, whose voice it is less so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec.features import frame_count
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.glm.features import chunks, log_mels, step_count

# Of a clip of unit variance: about as loud as the speech that Whisper was trained on.
LEVEL = 0.1
# Of the states of the third layer of tiny.en, about. Fresh networks learn faster from deviation 1.
DEVIATION = 0.44


class WhisperFeatures(nn.Module):
    """States of the first layers of a GLM tokenizer's Whisper, less their mean, 50 a second.

    The mean over the clip is what voice and channel add at all times. Positions are absolute: a
    piece of a clip does not have the features that it has in the clip.
    """

    def __init__(self, glm: GLMTokenizer, layers: int) -> None:
        super().__init__()
        self.mels, self.encoder = glm.config.num_mel_bins, glm.encoder
        del self.encoder.layers[layers:]

    def forward(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Standardized waveforms (samples,) to features (batch, longest frames, channels).

        Features beyond a clip's own frames are undefined. Chunks of 30 s do not hear each other.
        """
        clips = [chunks(LEVEL * waveform) for waveform in waveforms]
        pieces = [piece for clip in clips for piece in clip]
        steps = [step_count(len(piece)) for piece in pieces]
        states = self.encoder.states(log_mels(pieces, self.mels), steps)
        heard = iter(row[:count] for row, count in zip(states, steps, strict=True))
        centred = []
        for clip, waveform in zip(clips, waveforms, strict=True):
            joined = torch.cat([next(heard) for _ in clip])[: frame_count(len(waveform))]
            centred.append(joined - joined.mean(dim=0))
        return pad_sequence(centred, True) / DEVIATION


def load_whisper(folder: Path, layers: int) -> WhisperFeatures:
    """The features of a GLM tokenizer's folder; raises UserError."""
    glm = GLMTokenizer.load(folder)
    if layers > glm.config.quantize_position:
        raise UserError(f"{folder} has {glm.config.quantize_position} layers and not {layers}.")
    return WhisperFeatures(glm, layers).requires_grad_(False).eval()
