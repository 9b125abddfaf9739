"""Parakeet-TDT-0.6B-v3 through NeMo: a FastConformer that emits tokens with their durations.

Sekoyan et al.: Canary-1B-v2 & Parakeet-TDT-0.6B-v3, 2025. The model hears which of its 25
languages is spoken by itself and takes no hint; what language a hypothesis has is what the
pipeline knew before.
"""

from __future__ import annotations

from typing import Literal

from gpa.curation.models import nemo
from gpa.curation.models.asr.hearing import SAMPLE_RATE, BatchedASRConfig, Recogniser
from gpa.curation.models.protocols import Hypothesis, Waveform
from gpa.runtime.models import Facts, Source


class ParakeetConfig(BatchedASRConfig):
    """`weights` is a `.nemo` file, a folder with one, or a model on the hub."""

    model: Literal["parakeet"] = "parakeet"
    weights: str = "nvidia/parakeet-tdt-0.6b-v3"


class Parakeet(Recogniser[ParakeetConfig]):
    """The ASR protocol over an `EncDecRNNTBPEModel`.

    A word's confidence is the mean of its tokens' (`change_decoding`), a text's that of its words.
    """

    # With full attention on a GPU of 80 GB, by the model's card.
    longest_s = 24 * 60

    def sources(self) -> tuple[Source, ...]:
        return (nemo.source_of(self.config.weights, "Parakeet", "CC-BY-4.0"),)

    def facts(self) -> Facts:
        return nemo.facts_of(f"parakeet {self.config.weights}", self.source, nemo.GRANARY_LANGUAGES)

    def load(self) -> None:
        """Restore the checkpoint, and have it keep words' times and confidences."""
        self.model = nemo.restore("EncDecRNNTBPEModel", self.source, self.config.device)
        nemo.change_decoding(self.model, {"compute_timestamps": True}, word_confidence=True)

    def _hear(self, clips: list[Waveform], language: str | None) -> list[Hypothesis]:
        heard = self.model.transcribe(
            nemo.padded(clips),
            batch_size=len(clips),
            timestamps=True,
            return_hypotheses=True,
            num_workers=0,
            verbose=False,
        )
        return [
            nemo.hypothesis_of(each, len(clip) / SAMPLE_RATE, language, word_confidence=True)
            for each, clip in zip(heard, clips, strict=True)
        ]
