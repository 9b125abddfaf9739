"""Qwen3-ASR through transformers: an audio encoder in front of a Qwen3 language model, 30 languages.

Qwen team, 2026 (arXiv 2601.21337). The language spoken is forced by the beginning of the answer,
"language English<asr_text>", so that all that the model adds is text. Words have no times.

The text is decoded here, as the model wrote it: `Qwen3ASRProcessor.parse_output` takes out whatever
is repeated twenty times or more, and with it the loops that consensus must see.
"""

from __future__ import annotations

from typing import Any, Literal

from babel import Locale

from gpa.curation.models.asr.hearing import BatchedASRConfig, Recogniser
from gpa.curation.models.device import prepare_torch
from gpa.curation.models.protocols import Hypothesis, Waveform
from gpa.curation.models.weights import resolve, transformers_facts
from gpa.runtime.models import Facts, Source

# As the authors' own inference has it.
MOST_TOKENS = 512

FILES = ("config.json", "tokenizer_config.json", "*.safetensors")
OPTIONAL_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "model.safetensors.index.json",
    "preprocessor_config.json",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "vocab.json",
)

_CODES = """
ar cs da de el en es fa fi fr hi hu id it ja ko mk ms nl pl pt ro ru sv th tl tr vi zh
"""
# Our codes to the names by which the model was trained, CLDR's but for one; Cantonese is Chinese to us.
NAMES = {code: Locale("en").languages[code] for code in _CODES.split()} | {"tl": "Filipino"}


class Qwen3ASRConfig(BatchedASRConfig):
    """`weights` is a folder in transformers' layout, or a model on the hub.

    The repositories without `-hf` have the layout of the authors' own package.
    """

    model: Literal["qwen3-asr"] = "qwen3-asr"
    weights: str = "Qwen/Qwen3-ASR-1.7B-hf"


class Qwen3ASR(Recogniser[Qwen3ASRConfig]):
    """The ASR protocol over `Qwen3ASRForConditionalGeneration`, greedy as the authors run it.

    A confidence is the geometric mean of the probabilities of a text's tokens.
    """

    # The authors take up to 20 minutes; utterances end at 30 s, and the tokens are for a minute.
    longest_s = 60

    def sources(self) -> tuple[Source, ...]:
        return (Source(self.config.weights, "Qwen3-ASR", "Apache-2.0", FILES, OPTIONAL_FILES),)

    def facts(self) -> Facts:
        return transformers_facts("qwen3-asr", self.source, frozenset(NAMES), memory_per_size=2)

    def load(self) -> None:
        import torch
        from transformers import AutoProcessor, Qwen3ASRForConditionalGeneration

        prepare_torch(self.config.device, self.config.weights)
        folder = resolve(self.source).path
        self._processor = AutoProcessor.from_pretrained(folder)
        dtype = torch.bfloat16 if self.config.device == "cuda" else torch.float32
        self.model = Qwen3ASRForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()
        self.model.to(self.config.device)

    def _hear(self, clips: list[Waveform], language: str | None) -> list[Hypothesis]:
        import torch

        if language not in NAMES:
            raise ValueError(f"Qwen3-ASR must be told a language that it writes, not {language!r}")
        inputs = self._batch(clips, NAMES[language])
        with torch.inference_mode():
            found = self.model.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=MOST_TOKENS,
                return_dict_in_generate=True,
                output_logits=True,
            )
        written = found.sequences[:, inputs["input_ids"].shape[1] :]
        logs = torch.stack(found.logits, dim=1).float().log_softmax(-1)
        logs = logs.gather(-1, written[..., None])[..., 0]
        texts = self._processor.tokenizer.batch_decode(written, skip_special_tokens=True)
        padding = self.model.generation_config.pad_token_id
        hypotheses = []
        for text, row, tokens in zip(texts, logs, written, strict=True):
            own = row[tokens != padding]
            confidence = float(own.mean().exp()) if len(own) else 1.0
            hypotheses.append(Hypothesis(text.strip(), confidence=confidence, language=language))
        return hypotheses

    def _batch(self, clips: list[Waveform], language: str) -> dict[str, Any]:
        """Inputs of clips that are prepared one by one, then padded.

        Prepared together, the features at the end of the shorter clips would be others.
        """
        import torch
        from torch.nn.functional import pad

        each = [
            self._processor.apply_transcription_request(clip, language=language) for clip in clips
        ]
        longest = max(one["input_ids"].shape[1] for one in each)
        frames = max(one["input_features"].shape[2] for one in each)
        padding = self._processor.tokenizer.pad_token_id
        joined: dict[str, list[Any]] = {}
        for one in each:
            left = (longest - one["input_ids"].shape[1], 0)
            right = (0, frames - one["input_features"].shape[2])
            for name, padded in (
                ("input_ids", pad(one["input_ids"], left, value=padding)),
                ("attention_mask", pad(one["attention_mask"], left)),
                ("input_features", pad(one["input_features"], right).to(self.model.dtype)),
                ("input_features_mask", pad(one["input_features_mask"], right)),
            ):
                joined.setdefault(name, []).append(padded)
        return {name: torch.cat(parts).to(self.config.device) for name, parts in joined.items()}
