"""Parakeet-TDT-0.6B-v3 through NeMo: a FastConformer that emits tokens with their durations.

Sekoyan et al.: Canary-1B-v2 & Parakeet-TDT-0.6B-v3, 2025. The model hears which of its 25
languages is spoken by itself and takes no hint; what language a hypothesis has is what the
pipeline knew before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from gpa.curation.models.asr.config import BatchedASRConfig
from gpa.curation.models.asr.hearing import SAMPLE_RATE, Recogniser, rising_words
from gpa.curation.models.nemo import (
    GRANARY_LANGUAGES,
    change_decoding,
    nemo_facts,
    nemo_source,
    padded,
    restore,
)
from gpa.curation.models.protocols import Facts, Hypothesis, Source, Waveform

# With full attention on a GPU of 80 GB, by the model's card.
LONGEST_S = 24 * 60


class ParakeetConfig(BatchedASRConfig):
    """`weights` is a `.nemo` file, a folder with one, or a model on the hub."""

    model: Literal["parakeet"] = "parakeet"
    weights: str = "nvidia/parakeet-tdt-0.6b-v3"


class Parakeet(Recogniser):
    """The ASR protocol over an `EncDecRNNTBPEModel`."""

    config: ParakeetConfig
    _longest_s = LONGEST_S

    def sources(self) -> tuple[Source, ...]:
        """The checkpoint."""
        return (nemo_source(self.config.weights, "Parakeet", "CC-BY-4.0"),)

    def facts(self) -> Facts:
        """What the model needs; raises UserError where weights or library lack."""
        (source,) = self.sources()
        return replace(
            nemo_facts(f"parakeet {self.config.weights}", source),
            languages=GRANARY_LANGUAGES,
            gpu_share=self.config.gpu_share,
            longest_input_s=LONGEST_S,
            batch_size=self.config.batch_size,
            word_times=True,
            confidence_means="word: mean over its tokens of the highest token probability, scaled"
            " so that 0 is chance; hypothesis: mean over its words",
        )

    def load(self) -> None:
        """Restore the checkpoint, and have it keep words' times and confidences."""
        (source,) = self.sources()
        self._model = restore("EncDecRNNTBPEModel", source, self.config.device)
        change_decoding(self._model, {"compute_timestamps": True}, word_confidence=True)

    def _hear(self, clips: list[Waveform], language: str | None) -> list[Hypothesis]:
        heard = self._model.transcribe(
            padded(clips),
            batch_size=len(clips),
            timestamps=True,
            return_hypotheses=True,
            num_workers=0,
            verbose=False,
        )
        return [
            hypothesis_of(each, len(clip) / SAMPLE_RATE, language)
            for each, clip in zip(heard, clips, strict=True)
        ]


def hypothesis_of(heard: Any, duration_s: float, language: str | None) -> Hypothesis:
    """NeMo's hypothesis with words' times, and confidences where it has one for each word."""
    words = heard.timestamp["word"]
    confidences = [float(each) for each in heard.word_confidence or ()]
    return Hypothesis(
        text=heard.text.strip(),
        words=rising_words(
            [
                (word["word"], word["start"], word["end"], confidence)
                for word, confidence in zip(words, confidences, strict=True)
            ],
            duration_s,
        ),
        confidence=sum(confidences) / len(confidences) if confidences else None,
        language=language,
    )
