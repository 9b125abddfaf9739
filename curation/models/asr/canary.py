"""Canary-1B and Canary-1B-v2 through NeMo: a FastConformer with a Transformer decoder.

Puvvada et al.: Less is More (Canary-1B), 2024; Sekoyan et al.: Canary-1B-v2 &
Parakeet-TDT-0.6B-v3, 2025. A prompt names the language spoken and the one to write; both are the
utterance's, so that nothing is translated. Words' times come from a small aligner that the
checkpoint of v2 brings along, and 1B has none.
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

# Both were trained on clips of up to 40 s; what is longer their authors cut into such pieces.
LONGEST_S = 40

LANGUAGES = {"1b": frozenset({"en", "de", "es", "fr"}), "1b-v2": GRANARY_LANGUAGES}
LICENCES = {"1b": "CC-BY-NC-4.0", "1b-v2": "CC-BY-4.0"}
# What a prompt holds beside the languages.
SLOTS = {
    "1b": {"task": "asr", "pnc": "yes"},
    "1b-v2": {
        "decodercontext": "",
        "emotion": "<|emo:undefined|>",
        "pnc": "yes",
        "itn": "no",
        "timestamp": "no",
        "diarize": "no",
    },
}


class CanaryConfig(BatchedASRConfig):
    """`weights` is a `.nemo` file, a folder with one, or a model on the hub, of that `version`."""

    model: Literal["canary"] = "canary"
    version: Literal["1b", "1b-v2"] = "1b-v2"
    weights: str = "nvidia/canary-1b-v2"


class Canary(Recogniser):
    """The ASR protocol over an `EncDecMultiTaskModel`."""

    config: CanaryConfig
    _longest_s = LONGEST_S

    def sources(self) -> tuple[Source, ...]:
        """The checkpoint."""
        return (nemo_source(self.config.weights, "Canary", LICENCES[self.config.version]),)

    def facts(self) -> Facts:
        """What the model needs; raises UserError where weights or library lack."""
        (source,) = self.sources()
        return replace(
            nemo_facts(f"canary-{self.config.version} {self.config.weights}", source),
            languages=LANGUAGES[self.config.version],
            gpu_share=self.config.gpu_share,
            longest_input_s=LONGEST_S,
            batch_size=self.config.batch_size,
            word_times=self.config.version == "1b-v2",
            confidence_means="hypothesis: mean over its tokens of the highest token probability,"
            " scaled so that 0 is chance; words have none",
        )

    def load(self) -> None:
        """Restore the checkpoint; decoding is greedy, as a beam of one."""
        (source,) = self.sources()
        self._model = restore("EncDecMultiTaskModel", source, self.config.device)
        greedy = {"strategy": "greedy", "greedy": {"max_generation_delta": 50}}
        # NeMo's confidence of words fails on texts with an unknown token.
        change_decoding(self._model, greedy, word_confidence=False)

    def _hear(self, clips: list[Waveform], language: str | None) -> list[Hypothesis]:
        from nemo.collections.asr.models.aed_multitask_models import MultiTaskTranscriptionConfig

        if language is None:
            raise ValueError("Canary must be told the language, and nobody knows it")
        aligns = self._model.timestamps_asr_model is not None
        settings = MultiTaskTranscriptionConfig(
            batch_size=len(clips),
            return_hypotheses=True,
            num_workers=0,
            verbose=False,
            timestamps=aligns or None,
            prompt={"source_lang": language, "target_lang": language} | SLOTS[self.config.version],
            enable_chunking=False,
        )
        heard = self._model.transcribe(
            padded(clips), timestamps=aligns or None, override_config=settings
        )
        return [
            hypothesis_of(each, len(clip) / SAMPLE_RATE, language)
            for each, clip in zip(heard, clips, strict=True)
        ]


def hypothesis_of(heard: Any, duration_s: float, language: str) -> Hypothesis:
    """NeMo's hypothesis, with words' times where the checkpoint has an aligner."""
    words = heard.timestamp["word"] if isinstance(heard.timestamp, dict) else []
    confidences = [float(each) for each in heard.token_confidence]
    return Hypothesis(
        text=heard.text.strip(),
        words=rising_words(
            [(word["word"], word["start"], word["end"], None) for word in words], duration_s
        ),
        confidence=sum(confidences) / len(confidences) if confidences else None,
        language=language,
    )
