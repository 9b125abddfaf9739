"""pyannote.audio's speaker diarization: VAD, speaker turns, overlapped speech.

Without a `pipeline` in the config it is built from weights inside wheels: the segmentation model
that whisperx ships and the GE2E encoder that Resemblyzer ships, joined by agglomerative
clustering. With one, a local folder or a name on the hub, in the layout of pyannote's own
pipelines 3.1 or community-1, is loaded as it is. pyannote runs the segmentation model once;
overlapped speech is read from the same scores.

Waveforms are handed over, never paths: pyannote opens paths with torchcodec, which many machines
can't load.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from gpa.curation.models.device import prepare_torch
from gpa.curation.models.diarization.hearing import (
    SAMPLE_RATE,
    DiarizerConfig,
    WindowedDiarizer,
    load_voice,
    voice_weights,
)
from gpa.curation.models.diarization.pipeline_folder import load_pipeline, pipeline_sources
from gpa.curation.models.protocols import Turn, Waveform
from gpa.curation.models.weights import library, resolve, wheel_file, wheel_weights
from gpa.curation.models.windows import Span
from gpa.runtime.models import Facts, Source, Weights


class PyannoteConfig(DiarizerConfig):
    """Settings of the diarizer; a pipeline brings its own segmentation and clustering along."""

    model: Literal["pyannote"] = "pyannote"
    # A local folder or a name on the hub; None: weights from wheels.
    pipeline: str | None = None
    # From wheels, a speaker is active where the segmentation model's score is above.
    segmentation_threshold: float = Field(0.5, gt=0, lt=1)
    # From wheels, clusters of fewer 0.5 s steps go to the nearest larger cluster.
    min_cluster_size: int = Field(12, ge=1)
    # Two talk at once where the second highest speaker score is above. Low, because a voice 8 dB
    # under another scores 0.2 to 0.3, and one voice alone under 0.1 (99 % of frames).
    overlap_threshold: float = Field(0.15, gt=0, lt=1)


class Pyannote(WindowedDiarizer[PyannoteConfig]):
    """Diarizer on top of `pyannote.audio.pipelines.SpeakerDiarization`."""

    def sources(self) -> tuple[Source, ...]:
        """The pipeline that the config names, and models of it that lie elsewhere."""
        return () if self.config.pipeline is None else pipeline_sources(self.config.pipeline)

    def facts(self) -> Facts:
        return Facts(
            model=self.config.pipeline or "PyanNet segmentation, GE2E embedding",
            library=library("pyannote.audio", remedy="run `make setup`"),
            licence="MIT",  # of the library
            weights=self._weights(),
            memory_mb=1500,
            # Its pipelines are pickles; of the wheel's we read tensors alone (pyannet.py).
            runs_code=self.config.pipeline is not None,
        )

    def load(self) -> None:
        """Build the pipeline; raises UserError for a missing GPU or an unknown pipeline."""
        os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
        import torch

        prepare_torch(self.config.device, "The diarizer")
        self._voice = load_voice(self.config.device)
        pipeline = (
            self._from_wheels()
            if self.config.pipeline is None
            else load_pipeline(Path(resolve(self.source).path))
        )
        self._pipeline = pipeline.to(torch.device(self.config.device))

    def _hear(self, clip: Waveform) -> tuple[list[Turn], list[Span]]:
        """Turns and overlapped speech of one window, by the pipeline."""
        import torch

        # pyannote wants at least one hop of the segmentation model's windows.
        clip = np.pad(clip, (0, max(0, SAMPLE_RATE - len(clip))))
        scores: list[Any] = []

        def keep_scores(step: str, artifact: Any, **_: Any) -> None:
            if step == "segmentation" and artifact is not None:
                scores.append(artifact)

        output = self._pipeline(
            {"waveform": torch.from_numpy(clip)[None], "sample_rate": SAMPLE_RATE},
            hook=keep_scores,
        )
        found = output.speaker_diarization
        speakers = found.labels()
        turns = [
            Turn(turn.start, turn.end, speakers.index(speaker))
            for turn, _, speaker in found.itertracks(yield_label=True)
        ]
        return turns, [(span.start, span.end) for span in self._overlaps(scores[-1])]

    def _overlaps(self, scores: Any) -> Any:
        """Stretches where the second highest speaker score is above the threshold.

        `scores` has shape (chunks, frames, local speakers).
        """
        from pyannote.audio import Inference
        from pyannote.audio.utils.signal import Binarize
        from pyannote.core import SlidingWindowFeature

        second = np.partition(scores.data, -2, axis=-1)[..., -2, np.newaxis]
        merged = Inference.aggregate(
            SlidingWindowFeature(second, scores.sliding_window),
            frames=self._pipeline._segmentation.model.receptive_field,
            hamming=True,
            missing=0.0,
        )
        threshold = self.config.overlap_threshold
        return Binarize(onset=threshold, offset=threshold)(merged).get_timeline().support()

    def _weights(self) -> tuple[Weights, ...]:
        if self.config.pipeline is not None:
            return (*(resolve(source) for source in self.sources()), voice_weights())
        return (
            wheel_weights("PyanNet segmentation", _segmentation_file(), "MIT"),
            voice_weights(),
        )

    def _from_wheels(self) -> Any:
        from pyannote.audio.core.plda import PLDA
        from pyannote.audio.pipelines import SpeakerDiarization

        from gpa.curation.models.diarization.pyannet import segmentation_model

        pipeline = SpeakerDiarization(
            segmentation=segmentation_model(_segmentation_file()),
            embedding=self._voice,
            embedding_exclude_overlap=True,
            clustering="AgglomerativeClustering",
            # The constructor asks for one although only VBx clustering uses it.
            plda=PLDA.__new__(PLDA),
            segmentation_batch_size=32,
            embedding_batch_size=32,
        )
        return pipeline.instantiate(
            {
                "segmentation": {
                    "threshold": self.config.segmentation_threshold,
                    "min_duration_off": 0.0,
                },
                "clustering": {
                    "method": "average",
                    "min_cluster_size": self.config.min_cluster_size,
                    "threshold": self.config.clustering_threshold,
                },
            }
        )


def _segmentation_file() -> Path:
    return wheel_file("whisperx", "whisperx/assets/pytorch_model.bin")
