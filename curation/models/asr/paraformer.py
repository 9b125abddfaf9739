"""Paraformer through FunASR: Mandarin in one pass, and seed-tts-eval's judge of Mandarin speech.

Gao et al., Interspeech 2022 (arXiv:2206.08317); `paraformer-zh` is its SeACo variant (Shi et al.,
arXiv:2308.03266). It writes characters with spaces between them and no marks.

Its features are dithered with random noise, so that the same clip can be heard differently twice.
Here each clip draws the same noise. One clip at a time, as seed-tts-eval has it: in a batch the
padding changes what is heard.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Literal

from gpa.curation.models.asr.hearing import SAMPLE_RATE, ASRConfig, Recogniser
from gpa.curation.models.device import DeviceConfig, require_device
from gpa.curation.models.protocols import Hypothesis, Waveform
from gpa.curation.models.weights import library, resolve
from gpa.runtime.models import Facts, Source

WEIGHTS = "model.pt"
FILES = (WEIGHTS, "config.yaml", "tokens.json", "am.mvn")
# Which file is what; without it FunASR goes by their names.
OPTIONAL_FILES = ("configuration.json", "seg_dict")

DITHER_SEED = 0


class ParaformerConfig(ASRConfig, DeviceConfig):
    """`weights` is a folder in FunASR's layout, or a model on the hub."""

    model: Literal["paraformer"] = "paraformer"
    weights: str = "funasr/paraformer-zh"


class Paraformer(Recogniser[ParaformerConfig]):
    """The ASR protocol over FunASR's `AutoModel`; it gives neither word times nor confidences."""

    def sources(self) -> tuple[Source, ...]:
        licence = "FunASR Model License"
        return (Source(self.config.weights, "Paraformer", licence, FILES, OPTIONAL_FILES),)

    def facts(self) -> Facts:
        funasr, weights = library("funasr"), resolve(self.source)
        return Facts(
            model=f"paraformer {self.config.weights}",
            library=funasr,
            licence=weights.licence,
            weights=(weights,),
            languages=frozenset({"zh"}),
            memory_mb=1000 + 2 * (Path(weights.path) / WEIGHTS).stat().st_size // 1_000_000,
        )

    def load(self) -> None:
        import torch

        require_device(self.config.device, self.config.weights)
        # It prints whatever it imports and loads.
        with contextlib.redirect_stdout(io.StringIO()):
            from funasr import AutoModel

            self.model = AutoModel(
                model=resolve(self.source).path,
                device=self.config.device,
                # Else it would change the process's.
                ncpu=torch.get_num_threads(),
                trust_remote_code=False,
                # Else it would ask the network for a newer version of itself.
                disable_update=True,
                disable_pbar=True,
                log_level="ERROR",
            )

    def _hear(self, clips: list[Waveform], language: str | None) -> list[Hypothesis]:
        import torch

        (clip,) = clips
        with torch.random.fork_rng():
            torch.manual_seed(DITHER_SEED)
            # Where it hears no token, it has no result.
            found = self.model.generate(input=[clip], fs=SAMPLE_RATE)
        return [Hypothesis("".join(each["text"] for each in found), language=language)]
