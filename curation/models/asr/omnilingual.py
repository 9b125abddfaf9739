"""Omnilingual ASR: wav2vec 2.0 encoders with a CTC head or a Llama decoder, 1,600 languages.

Omnilingual ASR team: Omnilingual ASR: Open-Source Multilingual Speech Recognition for 1600+
Languages, 2025. Its fairseq2 wants an older torch and numpy than everything else here, so it
lives in an environment of its own (docs/environments.md). No language model takes part: CTC
decodes greedily. It gives neither word times nor confidences.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Literal

import yaml
from langcodes import Language
from pydantic import Field

from gpa.curation.models.asr.hearing import SAMPLE_RATE, BatchedASRConfig, Recogniser
from gpa.curation.models.protocols import Hypothesis, Waveform
from gpa.curation.models.weights import library, resolve
from gpa.runtime.errors import UserError
from gpa.runtime.models import Facts, Source, Weights

# The library refuses more; its "Unlimited" models take any length.
LONGEST_S = 40
CHECKPOINT, TOKENIZER = "*.pt", "*.model"
DOWNLOADS = "https://dl.fbaipublicfiles.com/mms"

# Our codes of what it knows, as Whisper names languages.
_CODES = """
af am ar as ast az ba be bg bn bo br bs ca cs cy da de el en eo es et eu fa fi fo fr ga gl gu ha haw
he hi hr ht hu hy id ig is it ja jv jw ka kk km kn ko ky la lb lg ln lo lt lv mg mi mk ml mn mr ms mt
my ne nl no ny oc om or pa pl ps pt ro ru rw sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt
ug uk ur uz vi wo xh yi yo yue zh zu
"""
# Where the model's own is not ISO 639-3 with the script that most is written in.
_OTHERWISE = {
    "ar": "arb_Arab", "et": "ekk_Latn", "ko": "kor_Hang", "ms": "zsm_Latn", "no": "nob_Latn",
    "or": "ory_Orya", "sq": "als_Latn", "sw": "swh_Latn", "tl": "tgl_Latn", "yi": "ydd_Hebr",
    "zh": "cmn_Hans",
}  # fmt: skip


def _model_code(code: str) -> str:
    language = Language.get(code).maximize()
    return _OTHERWISE.get(code) or f"{language.to_alpha3()}_{language.script}"


# The model's codes by ours.
LANGUAGES = {code: _model_code(code) for code in _CODES.split()}

# GiB on a GPU in bfloat16, one clip of 30 s, as the authors measured them.
MEMORY_GIB = {
    "CTC": {"300M": 2, "1B": 3, "3B": 8, "7B": 15},
    "LLM": {"300M": 5, "1B": 6, "3B": 10, "7B": 17},
}


class OmnilingualConfig(BatchedASRConfig):
    """`weights` is a folder, or a repository on the hub, with the checkpoint and its tokenizer.

    The authors give both out under plain addresses: the error for a missing folder names them.
    """

    model: Literal["omnilingual"] = "omnilingual"
    # The library's name of the model, whose zero-shot and self-supervised ones do not fit here.
    card: str = Field(
        "omniASR_LLM_1B_v2",
        pattern="^omniASR_((CTC|LLM)_(300M|1B|3B|7B)(_v2)?|LLM_Unlimited_(300M|1B|3B|7B)_v2)$",
    )
    weights: str


class Omnilingual(Recogniser[OmnilingualConfig]):
    """The ASR protocol over `ASRInferencePipeline`."""

    def __init__(self, config: OmnilingualConfig):
        super().__init__(config)
        self.longest_s = None if "Unlimited" in config.card else LONGEST_S

    def sources(self) -> tuple[Source, ...]:
        files = (CHECKPOINT, TOKENIZER)
        return (Source(self.config.weights, "Omnilingual ASR", "Apache-2.0", files),)

    def facts(self) -> Facts:
        libraries = library(
            *("omnilingual-asr", "fairseq2"),
            remedy="`pip install omnilingual-asr` in an environment of its own and name its python"
            " in this model's `environment`",
        )
        weights = self._weights()
        _, head, *_, size = self.config.card.removesuffix("_v2").split("_")
        return Facts(
            model=self.config.card,
            library=libraries,
            licence="Apache-2.0",
            weights=(weights,),
            languages=frozenset(LANGUAGES),
            # On a CPU in float32, twice as wide.
            memory_mb=MEMORY_GIB[head][size] * (1024 if self.config.on_gpu else 2048),
            runs_code=True,  # a pickle, and how fairseq2 reads it was not looked into
        )

    def _weights(self) -> Weights:
        try:
            return resolve(self.source)
        except UserError as error:
            urls = " and ".join(download_urls(self.config.card))
            raise UserError(f"{error} The authors give out {urls}.") from None

    def load(self) -> None:
        """Load the model on the configured device, in bfloat16 on a GPU."""
        with tempfile.TemporaryDirectory(prefix="gpa-fairseq2-") as folder:
            card = asset_cards(self.config.card, Path(self._weights().path))
            (Path(folder) / "cards.yaml").write_text(card, encoding="utf-8")
            # Read when fairseq2 is first asked for a model: there is no argument for it.
            os.environ["FAIRSEQ2_USER_ASSET_DIR"] = folder
            import torch
            from omnilingual_asr.models.inference.pipeline import ASRInferencePipeline

            self.model = ASRInferencePipeline(
                f"gpa_{self.config.card}",
                device=self.config.device,
                dtype=torch.bfloat16 if self.config.on_gpu else torch.float32,
            )

    def _hear(self, clips: list[Waveform], language: str | None) -> list[Hypothesis]:
        # A CTC model takes no language, and only says that it ignores one.
        told = None if "CTC" in self.config.card else [model_language(language)] * len(clips)
        texts = self.model.transcribe(
            [{"waveform": clip, "sample_rate": SAMPLE_RATE} for clip in clips],
            lang=told,
            batch_size=len(clips),
        )
        return [Hypothesis(text.strip(), language=language) for text in texts]


def model_language(language: str | None) -> str | None:
    """The model's code, None where the language is unknown; raises ValueError for one it lacks."""
    if language is None:
        return None
    if language not in LANGUAGES:
        raise ValueError(f"Omnilingual ASR has no code for the language {language!r}")
    return LANGUAGES[language]


def asset_cards(card: str, folder: Path) -> str:
    """Two of fairseq2's asset cards, as YAML, for the checkpoint and the tokenizer in a folder.

    `gpa_CARD` takes all but the files from the library's own. Raises UserError where the folder
    has more than one of either.
    """
    found = []
    for pattern in (CHECKPOINT, TOKENIZER):
        files = sorted(folder.glob(pattern))
        if len(files) != 1:
            raise UserError(
                f"{folder} has {len(files)} files {pattern}; keep each Omnilingual ASR checkpoint "
                "and its tokenizer in a folder of their own."
            )
        found.append(str(files[0].absolute()))
    checkpoint, tokenizer = found
    named = {"name": f"gpa_{card}_tokenizer", "tokenizer_family": "char_tokenizer"}
    return yaml.safe_dump_all(
        [
            {"name": f"gpa_{card}", "base": card, "checkpoint": checkpoint}
            | {"tokenizer_ref": named["name"]},
            named | {"tokenizer": tokenizer},
        ]
    )


def download_urls(card: str) -> tuple[str, str]:
    """Where the authors give out a card's checkpoint and tokenizer."""
    if card.endswith("_v2"):
        tokenizer = "omniASR_tokenizer_written_v2"
    else:
        tokenizer = "omniASR_tokenizer_v7" if card == "omniASR_LLM_7B" else "omniASR_tokenizer"
    return f"{DOWNLOADS}/{card.replace('_', '-')}.pt", f"{DOWNLOADS}/{tokenizer}.model"
