"""The real `gpa` command with light models, so that a whole run takes seconds.

Driver, stages, storage, Ray and books are those of every run; only the networks are exchanged,
for those of `tones.py`. Run as `python -m tests.faults.light MINES curate ...`; MINES is the folder
of `mines.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile

from gpa.curation.pipeline import PipelineConfig, build_stages
from gpa.curation.punctuate.stage import PunctuateStage
from gpa.curation.quality import QualityStage
from gpa.curation.segment.stage import SegmentStage
from gpa.curation.transcribe.stage import Transcribe
from gpa.runtime.stage import Stage
from tests.faults.mines import Mined
from tests.faults.tones import (
    LOWEST_HZ,
    PAUSE_S,
    RATE,
    STEP_HZ,
    WORD_S,
    WORDS,
    EvenAligner,
    Loudness,
    ToneASR,
    ToneDiarizer,
)


def settings(laptop: dict[str, Any]) -> None:
    """`laptop` with two recognisers, no verifier and no denoiser: those that have light models."""
    laptop["denoise"] = {"model": "none"}
    for name in ("ctc-en", "whisper-base-fast"):
        laptop["transcribe"]["asr"].pop(name)
    voters = list(laptop["transcribe"]["asr"])
    laptop["consensus"]["panels"] = {"en": {"voters": voters}, "default": {"voters": voters[:1]}}
    laptop["resources"] |= {"cpus": 1, "default": {"workers": 1}}


def command(mines: Path) -> tuple[str | Path, ...]:
    """The `gpa` command with light models, to be followed by its arguments."""
    return (sys.executable, "-m", "tests.faults.light", mines)


def write_corpus(folder: Path, recordings: int, seed: int) -> None:
    """Recordings of three sentences each; a sentence is five tones with a swell each."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(WORD_S * RATE)) / RATE
    swell = np.sin(np.pi * time_s / WORD_S)
    pause = np.zeros(round(PAUSE_S * RATE))
    for number in range(recordings):
        pieces = [pause]
        for _ in range(3):
            for word in rng.integers(len(WORDS), size=5):
                pitch_hz = LOWEST_HZ + STEP_HZ * word
                pieces.append(0.3 * swell * np.sin(2 * np.pi * pitch_hz * time_s))
            pieces.append(pause)
        waveform = np.concatenate(pieces)
        waveform += 0.001 * rng.standard_normal(len(waveform))
        soundfile.write(folder / f"talk {number}.wav", waveform, RATE)


def light_stages(config: PipelineConfig, mines: Path) -> list[Stage]:
    """The recipe's stages with light models, each with mines laid in it."""
    stages = build_stages(config)
    for stage in stages:
        match stage:
            case SegmentStage():
                stage._diarizer = ToneDiarizer()
            case QualityStage():
                stage._scorer = Loudness()
            case Transcribe():
                stage.asr = ToneASR(deaf=stage.asr_name != config.transcribe.identifier)
            case PunctuateStage():
                stage._aligner = EvenAligner()
    return [Mined(stage, mines) for stage in stages]


if __name__ == "__main__":
    # Only here: a worker needs the stages alone.
    from gpa.curation import run
    from gpa.runtime import cli

    mines, *sys.argv[1:] = sys.argv[1:]
    with mock.patch.object(run, "build_stages", lambda config: light_stages(config, Path(mines))):
        cli.main()
