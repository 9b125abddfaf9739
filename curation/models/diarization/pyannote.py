"""pyannote.audio's speaker diarization: VAD, speaker turns, overlapped speech, embeddings.

Without a `pipeline` in the config it is built from weights inside wheels: the segmentation model
that whisperx ships and the GE2E encoder that Resemblyzer ships, joined by agglomerative
clustering. With one, a local folder in community-1's layout or a name on the hub is loaded as it
is. pyannote runs the segmentation model once; overlapped speech is read from the same scores.

Waveforms are handed over, never paths: pyannote opens paths with torchcodec, which many machines
can't load.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpa.curation.audio import resample
from gpa.curation.models.diarization.windows import (
    Span,
    Window,
    join_windows,
    own_spans,
    window_spans,
)
from gpa.curation.models.protocols import Diarization, Facts, Source, Turn, Waveform, Weights
from gpa.curation.models.weights import resolve, wheel_file, wheel_weights
from gpa.runtime.errors import UserError
from gpa.runtime.models import ModelConfig

SAMPLE_RATE = 16000
# Shorter speech has no embedding: two thirds of a second hold too few phones to tell voices apart.
MIN_EMBEDDED_S = 0.6

READER = "the diarization pipeline"
# Version 3.1 is a config that names two models; community-1 holds all its parts in folders.
PIPELINE_3_1 = Source(
    "pyannote/speaker-diarization-3.1", READER, "MIT", ("config.yaml",), gated=True
)
MODELS_OF_3_1 = (
    Source("pyannote/segmentation-3.0", READER, "MIT", ("pytorch_model.bin",), gated=True),
    Source("pyannote/wespeaker-voxceleb-resnet34-LM", READER, "CC-BY-4.0", ("pytorch_model.bin",)),
)


class PyannoteConfig(ModelConfig):
    """Settings of the diarizer; the thresholds hold for the models from wheels only."""

    model: Literal["pyannote"] = "pyannote"
    # A local folder (community-1's layout) or a name on the hub; None: weights from wheels.
    pipeline: str | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    # A speaker is active where the segmentation model's score is above.
    segmentation_threshold: float = Field(0.5, gt=0, lt=1)
    # Cosine distance up to which two voices are one speaker.
    clustering_threshold: float = Field(0.35, gt=0, lt=2)
    # Clusters of fewer 0.5 s steps go to the nearest larger cluster.
    min_cluster_size: int = Field(12, ge=1)
    # Two talk at once where the second highest speaker score is above. Low, because a voice 8 dB
    # under another scores 0.2 to 0.3, and one voice alone under 0.1 (99 % of frames).
    overlap_threshold: float = Field(0.15, gt=0, lt=1)
    # Longer recordings are diarized in windows that overlap, whose speakers are then joined.
    window_s: float = Field(600.0, ge=60)
    window_overlap_s: float = Field(10.0, gt=0, le=30)


class Pyannote:
    """Diarizer on top of `pyannote.audio.pipelines.SpeakerDiarization`."""

    def __init__(self, config: PyannoteConfig):
        self.config = config
        self._pipeline: Any = None

    def sources(self) -> tuple[Source, ...]:
        """The pipeline that the config names, and the models that 3.1 takes from elsewhere."""
        if self.config.pipeline is None:
            return ()
        if self.config.pipeline == PIPELINE_3_1.name:
            return (PIPELINE_3_1, *MODELS_OF_3_1)
        return (
            Source(
                self.config.pipeline,
                READER,
                "CC-BY-4.0",
                ("config.yaml", "segmentation/*", "embedding/*", "plda/*"),
                gated=True,
            ),
        )

    def facts(self) -> Facts:
        """Weights and needs; raises UserError where the wheels or the folder are missing."""
        try:
            version = metadata.version("pyannote.audio")
        except metadata.PackageNotFoundError:
            raise UserError("pyannote.audio is not installed; run `make setup`.") from None
        return Facts(
            model=self.config.pipeline or "PyanNet segmentation, GE2E embedding",
            library=f"pyannote.audio {version}",
            licence="MIT",  # of the library
            weights=self._weights(),
            sample_rate=SAMPLE_RATE,
            gpu_share=1.0 if self.config.device == "cuda" else 0.0,
            memory_mb=1500,
            # Its pipelines are pickles; of the wheel's we read tensors alone (pyannet.py).
            runs_code=self.config.pipeline is not None,
        )

    def load(self) -> None:
        """Build the pipeline; raises UserError for a missing GPU or an unknown pipeline."""
        os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
        import torch

        # With more, OpenMP's threads fight those of the other workers (measured: 9 times slower).
        torch.set_num_threads(1)
        if self.config.device == "cuda" and not torch.cuda.is_available():
            raise UserError(
                "The diarizer is set to device cuda but torch sees no GPU; "
                "set segment.diarizer.device to cpu or run on a GPU machine."
            )
        pipeline = self._from_wheels() if self.config.pipeline is None else self._from_pretrained()
        self._pipeline = pipeline.to(torch.device(self.config.device))

    def diarize(self, waveform: Waveform, sample_rate: int) -> Diarization:
        """Speaker turns of one recording; windows above `window_s` are joined by embedding."""
        audio = resample(waveform, sample_rate, SAMPLE_RATE)
        spans = window_spans(
            len(audio) / SAMPLE_RATE, self.config.window_s, self.config.window_overlap_s
        )
        windows = [
            self._diarize_window(audio, span, own)
            for span, own in zip(spans, own_spans(spans), strict=True)
        ]
        turns, overlaps = join_windows(windows, self.config.clustering_threshold)
        alone = [_speech(audio, [(turn.start_s, turn.end_s)], overlaps) for turn in turns]
        voices = [
            np.concatenate(
                [clip for clip, turn in zip(alone, turns, strict=True) if turn.speaker == n]
            )
            for n in range(1 + max((turn.speaker for turn in turns), default=-1))
        ]
        return Diarization(
            turns=turns,
            overlaps=overlaps,
            # A speaker who never talks alone has no voice of its own: all zeros.
            embeddings=np.nan_to_num(self.embed(voices, SAMPLE_RATE)),
            turn_embeddings=self.embed(alone, SAMPLE_RATE),
        )

    def embed(self, waveforms: Sequence[Waveform], sample_rate: int) -> NDArray[np.float32]:
        """One unit-length embedding a clip, NaN for clips under 0.6 s."""
        import torch

        encoder = self._pipeline._embedding
        rows = np.full((len(waveforms), encoder.dimension), np.nan, np.float32)
        for row, waveform in zip(rows, waveforms, strict=True):
            clip = resample(waveform, sample_rate, SAMPLE_RATE)
            if len(clip) >= MIN_EMBEDDED_S * SAMPLE_RATE:
                row[:] = encoder(torch.from_numpy(np.ascontiguousarray(clip))[None, None])[0]
        return _unit_length(rows)

    def _diarize_window(self, audio: Waveform, span: Span, own: Span) -> Window:
        """Run the pipeline on one window; times come back in seconds of the recording."""
        import torch

        start, end = (round(edge_s * SAMPLE_RATE) for edge_s in span)
        # pyannote wants at least one hop of the segmentation model's windows.
        clip = np.pad(audio[start:end], (0, max(0, SAMPLE_RATE - (end - start))))
        scores: list[Any] = []

        def keep_scores(step: str, artifact: Any, **_: Any) -> None:
            if step == "segmentation" and artifact is not None:
                scores.append(artifact)

        output = self._pipeline(
            {"waveform": torch.from_numpy(clip)[None], "sample_rate": SAMPLE_RATE},
            hook=keep_scores,
        )
        speakers = output.speaker_diarization.labels()
        return Window(
            own=own,
            turns=tuple(
                Turn(span[0] + turn.start, span[0] + turn.end, speakers.index(speaker))
                for turn, _, speaker in output.speaker_diarization.itertracks(yield_label=True)
            ),
            overlaps=tuple(
                (span[0] + overlap.start, span[0] + overlap.end)
                for overlap in self._overlaps(scores[-1])
            ),
            embeddings=_unit_length(np.asarray(output.speaker_embeddings, np.float32)),
        )

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
            return tuple(resolve(source) for source in self.sources())
        return (
            wheel_weights(
                "PyanNet segmentation",
                wheel_file("whisperx", "whisperx/assets/pytorch_model.bin"),
                "MIT",
            ),
            wheel_weights(
                "GE2E speaker encoder",
                wheel_file("Resemblyzer", "resemblyzer/pretrained.pt"),
                "Apache-2.0",
            ),
        )

    def _from_wheels(self) -> Any:
        from pyannote.audio.core.plda import PLDA
        from pyannote.audio.pipelines import SpeakerDiarization

        from gpa.curation.models.diarization.ge2e import GE2E
        from gpa.curation.models.diarization.pyannet import segmentation_model

        segmentation, encoder = (Path(weights.path) for weights in self._weights())
        pipeline = SpeakerDiarization(
            segmentation=segmentation_model(segmentation),
            embedding=GE2E.from_checkpoint(encoder),
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

    def _from_pretrained(self) -> Any:
        from pyannote.audio import Pipeline

        name = self._weights()[0].path
        try:
            pipeline = Pipeline.from_pretrained(name)
        except Exception as error:
            raise UserError(
                f"The diarization pipeline {name} can't be loaded ({error}); name a folder in "
                "community-1's layout or a pipeline on the hub that you may read."
            ) from error
        if pipeline is None:
            raise UserError(
                f"The hub does not give out the diarization pipeline {name}; accept its terms and "
                "log in, or name a local folder."
            )
        return pipeline


def _unit_length(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows divided by their length; NaN rows stay NaN, zero rows zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def _speech(audio: Waveform, spans: Sequence[Span], without: Sequence[Span]) -> Waveform:
    """Samples (at 16 kHz) that lie in `spans` but in none of `without`."""
    keep = np.zeros(len(audio), bool)
    for start_s, end_s in spans:
        keep[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)] = True
    for start_s, end_s in without:
        keep[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)] = False
    return audio[keep]
