"""DNSMOS P.835: predicted opinion scores of speech, background and the whole.

Reddy, Gopal, Cutler: DNSMOS P.835, ICASSP 2022. The network comes from the wheel `speechmos`;
its window, its repetition of short clips and its calibration polynomials are followed here, so
that scores compare with published ones. The wheel's own Python code would add librosa.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpa.curation.audio import Waveform, resample
from gpa.curation.models.protocols import MOS, Model
from gpa.curation.models.weights import wheel_facts, wheel_file
from gpa.runtime.models import Facts, ModelConfig

SAMPLE_RATE = 16000
WINDOW_SAMPLES = 144160  # 9.01 s, the network's input

# Raw outputs, in their order, to the scale of P.835: coefficients of x^2, x, 1.
_CALIBRATION = {
    "signal": (-0.08397278, 1.22083953, 0.0052439),
    "background": (-0.13166888, 1.60915514, -0.39604546),
    "overall": (-0.06766283, 1.11546468, 0.04602535),
}


class DNSMOSConfig(ModelConfig):
    """How closely a clip is looked at."""

    title: ClassVar[str] = "DNSMOS"
    model: Literal["dnsmos"] = "dnsmos"
    # Seconds between the model's windows of 9.01 s: 1 as published; 9 takes a quarter of the
    # time and differs by 0.04 points of overall MOS in the mean.
    hop_s: float = Field(default=3.0, gt=0)


class DNSMOS(Model[DNSMOSConfig]):
    """Scores a clip by the mean over windows of 9.01 s; implements `protocols.QualityScorer`.

    A window costs the same wherever it lies, so 30 s of audio cost 21 windows at a hop of 1 s
    and 3 at 9 s.
    """

    def facts(self) -> Facts:
        return wheel_facts(
            "DNSMOS P.835",
            "speechmos",
            wheel_file("speechmos", "speechmos/dnsmos_models/sig_bak_ovr.onnx"),
            licence="MIT",
            memory_mb=200,
        )

    def load(self) -> None:
        """Load the network, on one thread: ONNX Runtime takes every core unless told."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            self.facts().weights[0].path, options, providers=["CPUExecutionProvider"]
        )

    def score(self, waveforms: Sequence[Waveform], sample_rate: int) -> list[MOS]:
        return [self._score(resample(clip, sample_rate, SAMPLE_RATE)) for clip in waveforms]

    def _score(self, clip: Waveform) -> MOS:
        # One window at a time: a batch takes no less time, and more memory.
        raw = np.concatenate(
            [
                self._session.run(None, {"input_1": window[np.newaxis]})[0]
                for window in windows(clip, self.config.hop_s)
            ]
        ).astype(np.float64)
        calibrated = zip(_CALIBRATION.items(), raw.T, strict=True)
        return MOS(**{name: float(np.mean(np.polyval(c, out))) for (name, c), out in calibrated})


def windows(clip: Waveform, hop_s: float) -> list[NDArray[np.float32]]:
    """Windows of 9.01 s at 16 kHz, every `hop_s` seconds in the whole seconds of the clip.

    A clip shorter than a window is doubled until it is long enough, as DNSMOS does it.
    """
    if not len(clip):
        raise ValueError("a clip without samples has no quality")
    while len(clip) < WINDOW_SAMPLES:
        clip = np.concatenate([clip, clip])
    last_start = max(0, len(clip) // SAMPLE_RATE * SAMPLE_RATE - WINDOW_SAMPLES)
    starts = range(0, last_start + 1, round(hop_s * SAMPLE_RATE))
    return [clip[start : start + WINDOW_SAMPLES].astype(np.float32, copy=False) for start in starts]
