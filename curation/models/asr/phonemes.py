"""hama's CTC phoneme recogniser: a waveform to posteriors over IPA, one row every 20 ms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpa.curation.models.protocols import Waveform, Weights
from gpa.curation.models.weights import library, wheel_file, wheel_weights

SAMPLE_RATE = 16000
FRAME_S = 0.02  # the network halves the rate of a 160-sample spectrogram
BLANK = "<blank>"
WORD_BOUNDARY = "<wb>"

# Shorter clips give the network no frame to work on.
SHORTEST_SAMPLES = 800


def phoneme_weights() -> Weights:
    """Where the recogniser's weights are; raises UserError where the wheel lacks."""
    path = wheel_file("hama", "hama/assets/asr_waveform.hama")
    return wheel_weights("hama asr_waveform", path, "MIT")


def hama_library() -> str:
    """Name and version, for facts."""
    return library("hama", remedy="run `make setup`")


class PhonemeRecogniser:
    """The network with its vocabulary; `tokens[i]` is column i of the posteriors."""

    def __init__(self) -> None:
        import hama

        self._model: Any = hama.ASRModel()
        self.tokens: list[str] = self._model.decoder_tokens

    def log_probabilities(self, waveform: Waveform) -> NDArray[np.float32]:
        """Log posteriors (frames, tokens) of a 16 kHz waveform."""
        if len(waveform) < SHORTEST_SAMPLES:
            return np.zeros((0, len(self.tokens)), np.float32)
        log_probabilities, lengths = self._model.session.run(
            ["log_probs", "out_lengths"],
            {"waveform": waveform[np.newaxis], "waveform_lengths": np.array([len(waveform)])},
        )
        return log_probabilities[0, : int(lengths[0])]
