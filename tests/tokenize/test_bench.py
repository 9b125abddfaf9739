"""The benchmark measures what it says."""

from __future__ import annotations

import numpy as np
import pytest

from gpa.runtime import cli
from gpa.runtime.bench.figures import Measurement
from gpa.tokenize import bench as benchmark
from gpa.tokenize.bench import CURATED_RATE, bench, made_up_speech


def test_made_up_speech_has_the_lengths_of_utterances():
    durations_s = np.array([len(clip) / CURATED_RATE for clip in made_up_speech(60)])
    assert np.median(durations_s) == pytest.approx(6, abs=1.5)
    assert 1 <= durations_s.min() < durations_s.max() <= 25


def test_every_measurement_is_printed_and_is_one(monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "UTTERANCES", 3)
    lines: list[Measurement] = []
    monkeypatch.setattr(benchmark, "bench", lambda: lines)
    lines += bench()
    cli.bench(["tokenize"])
    assert capsys.readouterr().out.splitlines() == [str(line) for line in lines]
    assert all(np.isfinite(line.value) and line.value > 0 for line in lines)
