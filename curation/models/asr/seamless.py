"""SeamlessM4T-v2-large through transformers: a Conformer with a text decoder for some ninety languages.

Seamless Communication et al., 2023. A language token tells the decoder what to write; it is the
language spoken, so that nothing is translated. Words have no times. The weights are for
non-commercial use (CC-BY-NC-4.0), and so the lineage of every text on which this model voted says.

One clip at a time: in a batch, transformers' adaptor layers read the padding behind the shorter
clips, and write other texts for them than alone.
"""

from __future__ import annotations

from typing import Any, Literal

from langcodes import Language
from pydantic import Field

from gpa.curation.models.asr.hearing import SAMPLE_RATE, ASRConfig, Recogniser
from gpa.curation.models.device import DeviceConfig, prepare_torch
from gpa.curation.models.protocols import Hypothesis, Waveform
from gpa.curation.models.weights import resolve, transformers_facts
from gpa.runtime.models import Facts, Source

# As the published generation settings have it: ends loops.
MOST_TOKENS = 256

FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer_config.json",
    "*.safetensors",
)
OPTIONAL_FILES = (
    "model.safetensors.index.json",
    "sentencepiece.bpe.model",
    "tokenizer.json",
    "added_tokens.json",
    "special_tokens_map.json",
)

# Our codes of what it writes.
_CODES = """
af am ar as az be bg bn bs ca cs cy da de el en es et eu fa fi fr ga gl gu he hi hr hu hy id ig is it
ja jv ka kk km kn ko ky lg lo lt lv mk ml mn mr mt my ne nl nn no ny or pa pl ps pt ro ru sd sk sl sn
so sr sv sw ta te tg th tl tr uk ur uz vi yo zh zu
"""
# Where the code of the model's language token is not that of ISO 639-3.
_OTHERWISE = {
    "ar": "arb", "az": "azj", "fa": "pes", "lv": "lvs", "mn": "khk", "ne": "npi", "no": "nob",
    "or": "ory", "ps": "pbt", "sw": "swh", "tl": "tgl", "uz": "uzn", "zh": "cmn",
}  # fmt: skip
# The model's codes by ours.
CODES = {code: _OTHERWISE.get(code) or Language.get(code).to_alpha3() for code in _CODES.split()}


class SeamlessConfig(ASRConfig, DeviceConfig):
    """`weights` is a folder in transformers' layout, or a model on the hub."""

    model: Literal["seamless"] = "seamless"
    weights: str = "facebook/seamless-m4t-v2-large"
    beam_size: int = Field(default=5, gt=0)


class Seamless(Recogniser[SeamlessConfig]):
    """The ASR protocol over `SeamlessM4Tv2ForSpeechToText`.

    A confidence is the geometric mean of the probabilities of a text's tokens in beam search.
    """

    # The authors' own demonstration takes no more; utterances end at 30 s anyway.
    longest_s = 60

    def sources(self) -> tuple[Source, ...]:
        return (Source(self.config.weights, "SeamlessM4T", "CC-BY-NC-4.0", FILES, OPTIONAL_FILES),)

    def facts(self) -> Facts:
        return transformers_facts("seamless", self.source, frozenset(CODES), memory_per_size=1)

    def load(self) -> None:
        import torch
        from transformers import (
            AutoFeatureExtractor,
            AutoTokenizer,
            SeamlessM4Tv2ForSpeechToText,
        )

        prepare_torch(self.config.device, self.config.weights)
        folder = resolve(self.source).path
        self._features = AutoFeatureExtractor.from_pretrained(folder)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        # Half precision where the arithmetic is on a GPU: 2.3 billion parameters in 5 GB.
        dtype = torch.float16 if self.config.device == "cuda" else torch.float32
        self.model = SeamlessM4Tv2ForSpeechToText.from_pretrained(folder, dtype=dtype).eval()
        self.model.to(self.config.device)

    def _hear(self, clips: list[Waveform], language: str | None) -> list[Hypothesis]:
        import torch

        code = self._code(language)
        inputs = self._features(
            clips, sampling_rate=SAMPLE_RATE, padding=True, return_tensors="pt"
        ).to(self.config.device)
        with torch.inference_mode():
            found = self.model.generate(
                input_features=inputs["input_features"].to(self.model.dtype),
                attention_mask=inputs["attention_mask"],
                tgt_lang=code,
                num_beams=self.config.beam_size,
                do_sample=False,
                max_new_tokens=MOST_TOKENS,
                return_dict_in_generate=True,
                output_scores=True,
            )
            scores = self.model.compute_transition_scores(
                found.sequences,
                found.scores,
                getattr(found, "beam_indices", None),
                normalize_logits=self.config.beam_size == 1,
            )
        texts = self._tokenizer.batch_decode(found.sequences, skip_special_tokens=True)
        return [
            Hypothesis(text.strip(), confidence=_geometric_mean(row), language=language)
            for text, row in zip(texts, scores, strict=True)
        ]

    def _code(self, language: str | None) -> str:
        """The model's code of a language that this checkpoint writes; raises ValueError."""
        code = CODES.get(language or "")
        if code is None or code not in self.model.generation_config.text_decoder_lang_to_code_id:
            raise ValueError(
                f"SeamlessM4T must be told a language that it writes, not {language!r}"
            )
        return code


def _geometric_mean(log_probabilities: Any) -> float:
    """Of a row's tokens; those behind its end have probability 1 (log 0), or none."""
    real = log_probabilities[(log_probabilities < 0) & log_probabilities.isfinite()]
    return float(real.float().mean().exp()) if len(real) else 1.0
