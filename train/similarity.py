"""Speaker similarity: the cosine between embeddings of what was spoken and of the voice asked for.

Cosines of different encoders are on different scales and can't be compared. The published figures
of seed-tts-eval come from WavLM-large under an ECAPA-TDNN (`wavlm_large_finetune.pth`), which no
package ships and transformers has no class for. Here:

- `ge2e`: the GE2E encoder out of Resemblyzer's wheel, on whose scale strangers are alike, too.
- `wavlm`: any `WavLMForXVector` checkpoint, such as `microsoft/wavlm-base-plus-sv`: a relative of the
  published one, and not the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from gpa.curation.audio import Waveform
from gpa.curation.models.device import require_device
from gpa.curation.models.diarization.hearing import load_voice
from gpa.runtime.config import Config
from gpa.runtime.errors import UserError
from gpa.tokenize.clips import SAMPLE_RATE

# Shorter speech has no voice that could be told from another.
LEAST_VOICE_S = 0.6


class GE2EConfig(Config):
    """The encoder whose weights come in a wheel."""

    model: Literal["ge2e"] = "ge2e"


class WavLMConfig(Config):
    """A speaker verification model: `weights` is a local folder or a name on the hub."""

    model: Literal["wavlm"] = "wavlm"
    weights: str
    device: Literal["cpu", "cuda"] = "cpu"


EncoderSection = Annotated[GE2EConfig | WavLMConfig, Field(discriminator="model")]


class SpeakerEncoder(Protocol):
    """Waveforms (samples,) at 16 kHz of at least LEAST_VOICE_S in, a vector (dimensions,) out."""

    @property
    def name(self) -> str:
        """How tables call it."""
        ...

    def embed(self, waveform: Waveform) -> NDArray[np.float32]:
        """The embedding of one clip, of any length of vector."""
        ...


class GE2EEncoder:
    """Resemblyzer's GE2E, as curation uses it."""

    name = "GE2E (Resemblyzer)"

    def __init__(self) -> None:
        self._network = load_voice("cpu")

    def embed(self, waveform: Waveform) -> NDArray[np.float32]:
        with torch.inference_mode():
            return self._network(torch.from_numpy(waveform)[None, None])[0].numpy()


class WavLMEncoder:
    """An x-vector head on WavLM; clips go through one by one, since padding would change them."""

    def __init__(self, config: WavLMConfig) -> None:
        require_device(config.device, f"The speaker encoder {config.weights}")
        from transformers import AutoFeatureExtractor, WavLMForXVector

        self.name = f"WavLM x-vector ({Path(config.weights).name})"
        self._device = config.device
        try:
            self._features = AutoFeatureExtractor.from_pretrained(config.weights)
            loaded: Any = WavLMForXVector.from_pretrained(config.weights, output_loading_info=True)
        except (OSError, ValueError) as error:
            raise UserError(
                f"The speaker encoder {config.weights} is neither a WavLMForXVector folder nor to "
                f"be had from the hub ({type(error).__name__}); mend eval.speakers."
            ) from None
        network, report = loaded
        if report["missing_keys"]:
            raise UserError(
                f"{config.weights} lacks {sorted(report['missing_keys'])[0]}: it is no checkpoint "
                "of speaker verification; mend eval.speakers."
            )
        self._network = network.eval().to(config.device)

    def embed(self, waveform: Waveform) -> NDArray[np.float32]:
        inputs = self._features(waveform, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        with torch.inference_mode():
            return self._network(**inputs.to(self._device)).embeddings[0].cpu().numpy()


def load_encoder(section: GE2EConfig | WavLMConfig) -> SpeakerEncoder:
    """The encoder that a section of the config describes; raises UserError with the remedy."""
    return WavLMEncoder(section) if isinstance(section, WavLMConfig) else GE2EEncoder()


def similarities(
    encoder: SpeakerEncoder, pairs: Sequence[tuple[Waveform, Waveform]]
) -> list[float]:
    """Cosine of each (spoken, voice), in [-1, 1]; 0 for speech too short to have a voice.

    Raises UserError where the voice asked for is too short itself: nothing can be like it.
    """
    found = []
    for spoken, voice in pairs:
        if len(voice) < LEAST_VOICE_S * SAMPLE_RATE:
            raise UserError(
                f"A voice of {len(voice) / SAMPLE_RATE:.2f} s is too short to compare with; test "
                f"sets need {LEAST_VOICE_S} s."
            )
        if len(spoken) < LEAST_VOICE_S * SAMPLE_RATE:
            found.append(0.0)
        else:
            found.append(cosine(encoder.embed(spoken), encoder.embed(voice)))
    return found


def cosine(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Cosine of the angle between two vectors, which need not be of unit length."""
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
