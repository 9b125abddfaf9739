"""Log-mel features, a small codec's ear: as many frames as wav2vec 2.0 has, at none of its cost."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpa.tokenize.bicodec.audio import mel_spectrogram
from gpa.tokenize.bicodec.config import MelConfig
from gpa.tokenize.bicodec.features import HOP_SAMPLES, frame_count

# 60 dB under a band's share of a clip of unit variance; what is quieter is silence.
FLOOR = 1e-3
# Of the natural logarithms of speech, about. Fresh networks learn faster from features of
# mean 0 and deviation 1.
MEAN, DEVIATION = -3.0, 2.0


class LogMel(nn.Module):
    """Logarithms of mel bands, at about mean 0 and deviation 1.

    The window of a frame is centred on its token's samples.
    """

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Standardized waveforms (samples,) to features (batch, longest frames, mels).

        Features beyond a clip's own frames are undefined.
        """
        longest = max(map(len, waveforms))
        lead = (self.config.n_fft - HOP_SAMPLES) // 2
        span = (frame_count(longest) - 1) * HOP_SAMPLES + self.config.n_fft
        padded = nn.utils.rnn.pad_sequence(list(waveforms), batch_first=True)
        padded = F.pad(padded, (lead, max(0, span - lead - longest)))[:, :span]
        mel = mel_spectrogram(padded, self.config, center=False)
        return (torch.log(mel.clamp(min=FLOOR)).transpose(1, 2) - MEAN) / DEVIATION
