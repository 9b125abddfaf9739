"""Speed of curation's own code, beside what it is measured against, in one run (`make bench`).

Models are left out here; `pipeline.py` has the pipeline beside their bare calls.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jiwer
import numpy as np
import soundfile

from gpa.curation import audio
from gpa.curation.consensus import agreement
from gpa.curation.normalize import NormalizeConfig, normalize
from gpa.runtime.bench.figures import Measurement, least_cpu_s
from gpa.runtime.tar import tar_bytes

PANELS, VOTERS, WORDS = 200, 5, 25
RECORDING_S, CORPUS_RATE = 300, 48000


def bench() -> Iterator[Measurement]:
    """All measurements, on one thread."""
    yield _pwer_against_jiwer()
    yield _signal_chain()


def _pwer_against_jiwer() -> Measurement:
    """pWER of panels of five, 25 words, against jiwer over the 20 ordered pairs; equal values."""
    generator = random.Random(0)
    vocabulary = [f"word{number}" for number in range(500)]
    panels = []
    for _ in range(PANELS):
        spoken = generator.choices(vocabulary, k=WORDS)
        heard = [
            [w if generator.random() < 0.9 else "other" for w in spoken] for _ in range(VOTERS)
        ]
        panels.append(heard)

    def ours() -> list[float | None]:
        return [agreement.pwer(agreement.wer_matrix(panel)) for panel in panels]

    def naive() -> list[float]:
        means = []
        for panel in panels:
            texts = [" ".join(words) for words in panel]
            pairs = [
                jiwer.wer(one, two)
                for i, one in enumerate(texts)
                for j, two in enumerate(texts)
                if i != j
            ]
            means.append(sum(pairs) / len(pairs))
        return means

    if not np.allclose(np.array(ours(), float), naive()):
        raise ArithmeticError("pWER differs from jiwer's")
    theirs_s, ours_s = least_cpu_s(naive, ours)
    return Measurement("pWER, panels of five, 25 words / jiwer", theirs_s / ours_s, "x", 30)


def _signal_chain() -> Measurement:
    """Decode FLAC at 48 kHz, compress, normalise at 24 kHz, encode FLAC, tar: x real time."""
    generator = np.random.default_rng(0)
    envelope = np.abs(np.sin(np.arange(RECORDING_S * CORPUS_RATE) / CORPUS_RATE * 3))
    waveform = 0.2 * envelope * generator.standard_normal(RECORDING_S * CORPUS_RATE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording.flac"
        soundfile.write(path, waveform, CORPUS_RATE)

        def chain() -> bytes:
            decoded, rate = audio.decode(str(path))
            normalized = normalize(decoded, rate, NormalizeConfig())
            return tar_bytes({"a.flac": audio.encode_flac(normalized.waveform, 24000)})

        (spent_s,) = least_cpu_s(chain)
    what = "decode, resample, compress, normalise, FLAC, tar"
    return Measurement(what, RECORDING_S / spent_s, "x real time", 500)
