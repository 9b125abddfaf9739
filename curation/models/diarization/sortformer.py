"""Sortformer through NeMo: a FastConformer that says every 80 ms who of four speakers talks.

Park et al.: Sortformer, 2024 (v1); Medennikov et al.: Streaming Sortformer, 2025 (v2), which goes
through a recording in steps and remembers its speakers. A window with more than four people has
some of them under one name, or not at all. Overlapped speech is where two are heard at once.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpa.curation.models import nemo
from gpa.curation.models.diarization.hearing import (
    SAMPLE_RATE,
    DiarizerConfig,
    WindowedDiarizer,
    load_voice,
    voice_weights,
)
from gpa.curation.models.protocols import Turn, Waveform
from gpa.curation.models.windows import Span
from gpa.curation.spans import runs
from gpa.runtime.errors import UserError
from gpa.runtime.models import Facts, Source

LICENCES = {"v1": "CC-BY-NC-4.0", "streaming-v2": "CC-BY-4.0"}
# The steps of v2 in frames of 80 ms, as its card has them where nobody waits for the answer.
STEPS = {
    "chunk_len": 340,
    "chunk_right_context": 40,
    "fifo_len": 40,
    "spkcache_update_period": 300,
}


class SortformerConfig(DiarizerConfig):
    """`weights` is a `.nemo` file, a folder with one, or a model on the hub, of that `version`."""

    model: Literal["sortformer"] = "sortformer"
    version: Literal["v1", "streaming-v2"] = "streaming-v2"
    weights: str = "nvidia/diar_streaming_sortformer_4spk-v2"
    # A speaker talks where their probability is above.
    activity_threshold: float = Field(0.5, gt=0, lt=1)


class Sortformer(WindowedDiarizer[SortformerConfig]):
    """The diarizer protocol over a `SortformerEncLabelModel`."""

    def sources(self) -> tuple[Source, ...]:
        return (nemo.source_of(self.config.weights, "Sortformer", LICENCES[self.config.version]),)

    def facts(self) -> Facts:
        model = f"sortformer {self.config.weights}"
        return nemo.facts_of(model, self.source, beside=(voice_weights(),))

    def load(self) -> None:
        """Restore the checkpoint; raises UserError where it is of another version."""
        self._model = nemo.restore("SortformerEncLabelModel", self.source, self.config.device)
        if self._model.streaming_mode != (self.config.version == "streaming-v2"):
            raise UserError(
                f"{self.source.name} is not Sortformer {self.config.version}; set segment.diarizer.version to "
                f"{'streaming-v2' if self._model.streaming_mode else 'v1'}."
            )
        if self._model.streaming_mode:
            for name, frames in STEPS.items():
                setattr(self._model.sortformer_modules, name, frames)
        self._voice = load_voice(self.config.device)

    def _hear(self, clip: Waveform) -> tuple[list[Turn], list[Span]]:
        _, (activity,) = self._model.diarize(
            nemo.padded([clip]),
            sample_rate=SAMPLE_RATE,
            include_tensor_outputs=True,
            num_workers=0,
            verbose=False,
        )
        config = self._model.cfg
        frame_s = config.preprocessor.window_stride * config.encoder.subsampling_factor
        return turns_and_overlaps(activity[0].numpy() > self.config.activity_threshold, frame_s)


def turns_and_overlaps(active: NDArray[np.bool_], frame_s: float) -> tuple[list[Turn], list[Span]]:
    """Turns in order of time, and where two or more talk; `active` has shape (frames, speakers)."""
    turns = [
        Turn(start * frame_s, end * frame_s, speaker)
        for speaker, talks in enumerate(active.T)
        for start, end in runs(talks)
    ]
    overlaps = runs(active.sum(axis=1) > 1)
    return (
        sorted(turns, key=lambda turn: (turn.start_s, turn.end_s)),
        [(start * frame_s, end * frame_s) for start, end in overlaps],
    )
