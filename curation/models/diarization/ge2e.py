"""The GE2E speaker encoder as a pyannote model.

Wan et al., "Generalized end-to-end loss for speaker verification" (2018): three LSTM layers over
40 mel bands, a linear layer, ReLU, unit length. The weights come in Resemblyzer's wheel; only the
file is used, never the package.

Every clip is brought to one level first: the network sees mel power, not its logarithm, and how
loud somebody talks is no mark of who it is. Level matters much: on 34 speakers (en_libri, en_lj,
en_emilia, en_speechbrain) clips of 1.6 s had an equal error rate of 15 % at -50 dBFS, 2.4 % at
-30 dBFS, 1.7 % at -25 dBFS and 4.7 % at -13 dBFS; clips of 4 s 0.2 % at -25 dBFS.
"""

from __future__ import annotations

from pathlib import Path

import torch
from pyannote.audio import Model
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

SAMPLE_RATE = 16000
DIMENSION = 256
_MEL_BANDS = 40
# The network was trained on windows of 1.6 s; here they overlap by half.
_WINDOW_FRAMES = 160
_HOP_FRAMES = 80
# Mean mel power of speech at -25 dBFS.
_MEL_POWER = 0.03
# Under 0.4 s of speech an embedding says nothing about the speaker.
_MIN_FRAMES = 40


class GE2E(Model):
    """Waveforms in, one unit-length embedding each out."""

    def __init__(self) -> None:
        super().__init__(sample_rate=SAMPLE_RATE, num_channels=1)
        self.mel = MelSpectrogram(
            sample_rate=SAMPLE_RATE,
            n_fft=400,
            hop_length=160,
            n_mels=_MEL_BANDS,
            norm="slaney",
            mel_scale="slaney",
        )
        self.lstm = nn.LSTM(_MEL_BANDS, DIMENSION, num_layers=3, batch_first=True)
        self.linear = nn.Linear(DIMENSION, DIMENSION)

    @classmethod
    def from_checkpoint(cls, path: Path) -> GE2E:
        """The encoder with Resemblyzer's weights, ready for inference."""
        encoder = cls()
        trained = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        for name in ("lstm", "linear"):
            prefix = f"{name}."
            getattr(encoder, name).load_state_dict(
                {
                    key.removeprefix(prefix): value
                    for key, value in trained.items()
                    if key.startswith(prefix)
                }
            )
        return encoder.eval()

    @property
    def dimension(self) -> int:
        return DIMENSION

    def forward(  # type: ignore[override]  # pyannote's own models add `weights` likewise
        self, waveforms: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Embed a batch of clips.

        `waveforms` has shape (clips, 1, samples); `weights`, shape (clips, frames) at any frame
        rate, says which parts of a clip belong to the speaker (over 0.5) where not all do.
        Returns (clips, 256); NaN for a clip with less than 0.4 s of its speaker.
        """
        mels = self.mel(waveforms[:, 0]).transpose(1, 2)
        if weights is None:
            keep = torch.ones(mels.shape[:2], dtype=torch.bool, device=mels.device)
        else:
            keep = nn.functional.interpolate(weights[:, None], size=mels.shape[1])[:, 0] > 0.5
        windows = [_windows(mel[mask]) for mel, mask in zip(mels, keep, strict=True)]
        counts = [len(each) for each in windows]
        _, (hidden, _) = self.lstm(torch.cat(windows))
        partials = nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)
        means = [
            each.mean(dim=0) if len(each) else mels.new_full((DIMENSION,), torch.nan)
            for each in partials.split(counts)
        ]
        return nn.functional.normalize(torch.stack(means), dim=1)


def _windows(mel: Tensor) -> Tensor:
    """Cut (frames, bands) into (windows, 160, bands), the last window flush with the end.

    A clip shorter than a window is repeated until it fills one; one under 0.4 s has no windows.
    """
    frames = len(mel)
    if frames < _MIN_FRAMES:
        return mel.new_zeros((0, _WINDOW_FRAMES, _MEL_BANDS))
    mel = mel * (_MEL_POWER / mel.mean().clamp_min(1e-12))
    if frames < _WINDOW_FRAMES:
        mel = mel.repeat(-(-_WINDOW_FRAMES // frames), 1)[:_WINDOW_FRAMES]
        frames = _WINDOW_FRAMES
    starts = [*range(0, frames - _WINDOW_FRAMES, _HOP_FRAMES), frames - _WINDOW_FRAMES]
    return torch.stack([mel[start : start + _WINDOW_FRAMES] for start in starts])
