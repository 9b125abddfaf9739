"""Canary-1B and Canary-1B-v2 through NeMo: a FastConformer with a Transformer decoder.

Puvvada et al.: Less is More (Canary-1B), 2024; Sekoyan et al.: Canary-1B-v2 &
Parakeet-TDT-0.6B-v3, 2025. A prompt names the language spoken and the one to write; both are the
utterance's, so that nothing is translated. Words' times come from a small aligner that the
checkpoint of v2 brings along, and 1B has none.
"""

from __future__ import annotations

from typing import Literal

from gpa.curation.models import nemo
from gpa.curation.models.asr.hearing import SAMPLE_RATE, BatchedASRConfig, Recogniser
from gpa.curation.models.protocols import Hypothesis, Waveform
from gpa.runtime.models import Facts, Source

LANGUAGES = {"1b": frozenset({"en", "de", "es", "fr"}), "1b-v2": nemo.GRANARY_LANGUAGES}
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


class Canary(Recogniser[CanaryConfig]):
    """The ASR protocol over an `EncDecMultiTaskModel`.

    A text's confidence is the mean of its tokens' (`change_decoding`); words have none.
    """

    # Both were trained on clips of up to 40 s; what is longer their authors cut into such pieces.
    longest_s = 40

    def sources(self) -> tuple[Source, ...]:
        return (nemo.source_of(self.config.weights, "Canary", LICENCES[self.config.version]),)

    def facts(self) -> Facts:
        version = self.config.version
        model = f"canary-{version} {self.config.weights}"
        return nemo.facts_of(model, self.source, LANGUAGES[version])

    def load(self) -> None:
        """Restore the checkpoint; decoding is greedy, as a beam of one."""
        self.model = nemo.restore("EncDecMultiTaskModel", self.source, self.config.device)
        greedy = {"strategy": "greedy", "greedy": {"max_generation_delta": 50}}
        # NeMo's confidence of words fails on texts with an unknown token.
        nemo.change_decoding(self.model, greedy, word_confidence=False)

    def _hear(self, clips: list[Waveform], language: str | None) -> list[Hypothesis]:
        from nemo.collections.asr.models.aed_multitask_models import MultiTaskTranscriptionConfig

        if language is None:
            raise ValueError("Canary must be told the language, and nobody knows it")
        aligns = self.model.timestamps_asr_model is not None
        settings = MultiTaskTranscriptionConfig(
            batch_size=len(clips),
            return_hypotheses=True,
            num_workers=0,
            verbose=False,
            timestamps=aligns or None,
            prompt={"source_lang": language, "target_lang": language} | SLOTS[self.config.version],
            enable_chunking=False,
        )
        heard = self.model.transcribe(
            nemo.padded(clips), timestamps=aligns or None, override_config=settings
        )
        return [
            nemo.hypothesis_of(each, len(clip) / SAMPLE_RATE, language, word_confidence=False)
            for each, clip in zip(heard, clips, strict=True)
        ]
