"""Self-supervised features: the mean of three hidden states of wav2vec 2.0 (XLSR-53)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import Wav2Vec2Config, Wav2Vec2Model

from gpa.runtime.config import read_json
from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec.padding import silence_padding, valid_mask
from gpa.tokenize.checkpoint import load_strictly, read_tensors

FRAME_SAMPLES = 400
HOP_SAMPLES = 320

# Index 0 is what enters the first transformer layer.
HIDDEN_STATES = (11, 14, 16)

# The convolutional front end is run on pieces of this many frames (10 s), which bounds its
# memory. Its convolutions are unpadded and its norms see one step at a time, so pieces are exact.
PIECE_FRAMES = 500

POSITIONAL_WEIGHT = "encoder.pos_conv_embed.conv."
OLD_NAMES = {
    POSITIONAL_WEIGHT + "weight_g": POSITIONAL_WEIGHT + "parametrizations.weight.original0",
    POSITIONAL_WEIGHT + "weight_v": POSITIONAL_WEIGHT + "parametrizations.weight.original1",
}
# A checkpoint of the pretraining task holds the model under a prefix, beside the task's heads.
PRETRAINING_PREFIX = "wav2vec2."
PRETRAINING_HEADS = ("quantizer.", "project_hid.", "project_q.")


def frame_count(samples: int) -> int:
    """Frames, and so semantic tokens, of a waveform at 16 kHz: 49 for one second."""
    return max(0, (samples - FRAME_SAMPLES) // HOP_SAMPLES + 1)


def standardize(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Zero mean and unit (population) variance over the clip itself, never over padding."""
    centred = waveform - waveform.mean(dtype=np.float64)
    variance = np.square(centred).mean()
    return (centred / np.sqrt(variance + 1e-7)).astype(np.float32)


class FeatureExtractor(nn.Module):
    """wav2vec 2.0 up to the last hidden state that is used; the layers above are dropped."""

    def __init__(self, model: Wav2Vec2Model) -> None:
        super().__init__()
        self.convolutions = model.feature_extractor
        self.projection = model.feature_projection
        self.positions = model.encoder.pos_conv_embed
        self.layers = model.encoder.layers[: max(HIDDEN_STATES)]

    def frames(self, waveform: Tensor) -> Tensor:
        """Waveform (samples,) through the convolutional front end: (frames, channels)."""
        count = frame_count(len(waveform))
        pieces = []
        for start in range(0, count, PIECE_FRAMES):
            end = min(start + PIECE_FRAMES, count)
            last_sample = (end - 1) * HOP_SAMPLES + FRAME_SAMPLES
            piece = waveform[None, start * HOP_SAMPLES : last_sample]
            pieces.append(self.convolutions(piece)[0].T)
        return torch.cat(pieces)

    def forward(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Standardized waveforms (samples,) to features (batch, longest frames, hidden size).

        Features beyond a clip's own frames are undefined.
        """
        frames = [self.frames(waveform) for waveform in waveforms]
        valid = valid_mask([len(clip) for clip in frames], frames[0].device)
        hidden, _ = self.projection(nn.utils.rnn.pad_sequence(frames, batch_first=True))
        # The positional convolution must see the zeros that it sees at the end of a single clip.
        hidden = silence_padding(hidden.transpose(1, 2), valid).transpose(1, 2)
        hidden = hidden + self.positions(hidden)
        attended = None if valid is None else valid[:, None, None]
        total = torch.zeros_like(hidden)
        for depth, layer in enumerate(self.layers, start=1):
            hidden = layer(hidden, attention_mask=attended)
            if depth in HIDDEN_STATES:
                total += hidden
        return total / len(HIDDEN_STATES)


def load_features(folder: Path) -> FeatureExtractor:
    """Load a wav2vec 2.0 folder in the transformers format.

    Both spellings of the positional convolution's weights are read, and both the bare model and
    the one inside a pretraining checkpoint. Raises UserError.
    """
    config = _read_wav2vec2_config(folder)
    with torch.device("meta"):
        model = Wav2Vec2Model(config)
    load_strictly(model, _present_names(read_tensors(folder)), folder)
    parametrize.remove_parametrizations(model.encoder.pos_conv_embed.conv, "weight")
    return FeatureExtractor(model).requires_grad_(False).eval()


def _read_wav2vec2_config(folder: Path) -> Wav2Vec2Config:
    """The folder's `config.json`; raises UserError where our exact batching would not hold."""
    path = folder / "config.json"
    config = Wav2Vec2Config.from_dict(read_json(path), attn_implementation="sdpa")
    geometry = (tuple(config.conv_kernel), tuple(config.conv_stride))
    if geometry != ((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)):
        raise UserError(f"{path}: conv_kernel and conv_stride are not those of wav2vec 2.0.")
    if config.feat_extract_norm != "layer" or not config.do_stable_layer_norm:
        raise UserError(
            f"{path}: BiCodec needs feat_extract_norm 'layer' and do_stable_layer_norm true, "
            "as in wav2vec2-large-xlsr-53."
        )
    if config.num_hidden_layers <= max(HIDDEN_STATES):
        raise UserError(
            f"{path}: num_hidden_layers is {config.num_hidden_layers}; BiCodec reads hidden state "
            f"{max(HIDDEN_STATES)} before the final norm and needs more layers than that."
        )
    return config


def _present_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the bare model under the key names of today."""
    if any(key.startswith(PRETRAINING_PREFIX) for key in tensors):
        tensors = {
            key.removeprefix(PRETRAINING_PREFIX): tensor
            for key, tensor in tensors.items()
            if not key.startswith(PRETRAINING_HEADS)
        }
    return {OLD_NAMES.get(key, key): tensor for key, tensor in tensors.items()}
