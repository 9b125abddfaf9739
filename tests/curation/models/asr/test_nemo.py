"""Parakeet and Canary on small random checkpoints of the real library."""

from __future__ import annotations

import numpy as np
import pytest

from gpa.curation.models.asr.canary import Canary, CanaryConfig
from gpa.curation.models.asr.parakeet import Parakeet, ParakeetConfig
from gpa.curation.models.protocols import ASR, Hypothesis
from tests.curation.models import tiny_nemo

RATE = 16000
CLIPS = [np.random.default_rng(n).normal(0, 0.1, n).astype(np.float32) for n in (3333, 40001)]


@pytest.fixture(scope="module", params=["parakeet", "1b", "1b-v2"])
def asr(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ASR:
    folder = tmp_path_factory.mktemp(request.param)
    adapter: ASR
    if request.param == "parakeet":
        file = tiny_nemo.parakeet(folder)
        adapter = Parakeet(ParakeetConfig(weights=str(file), batch_size=2))
    else:
        prompt = "canary" if request.param == "1b" else "canary2"
        file = tiny_nemo.canary(folder, prompt, ["en", "de"])
        adapter = Canary(CanaryConfig(version=request.param, weights=str(file), batch_size=2))
    adapter.load()
    return adapter


def test_order_language_and_times_are_kept(asr: ASR):
    first, second = asr.transcribe(CLIPS, RATE, ["en", "de"])
    assert isinstance(first, Hypothesis)
    assert isinstance(second, Hypothesis)
    assert (first.language, second.language) == ("en", "de")
    assert asr.transcribe(CLIPS[::-1], RATE, ["de", "en"]) == [second, first]
    for hypothesis, clip in ((first, CLIPS[0]), (second, CLIPS[1])):
        starts = [word.start_s for word in hypothesis.words]
        assert starts == sorted(starts)
        assert all(word.end_s <= len(clip) / RATE for word in hypothesis.words)
        assert 0 <= (hypothesis.confidence or 0.0) <= 1


def test_silence_is_empty_and_too_long_a_clip_is_refused(asr: ASR):
    longest_s = asr.facts().longest_input_s
    assert longest_s is not None
    long = np.zeros(round((longest_s + 1) * RATE), np.float32)
    silent, refused = asr.transcribe([np.zeros(RATE, np.float32), long], RATE, ["en", "en"])
    assert isinstance(silent, Hypothesis)
    assert silent.text == ""
    assert isinstance(refused, ValueError)
