"""Distill-MOS with its real weights: scores that follow what is heard."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from gpa.curation.models.quality.distillmos import DistillMOS, DistillMOSConfig

RATE = 16000


@pytest.fixture(scope="module")
def scorer() -> DistillMOS:
    pytest.importorskip("distillmos")
    model = DistillMOS(DistillMOSConfig(model="distillmos"))
    model.load()
    return model


def test_noise_lowers_the_score_and_there_are_no_others(scorer, shared_speech):
    clips = [
        soundfile.read(shared_speech / "edge" / name, dtype="float32")[0]
        for name in ("exact_duplicate.wav", "snr_0db.flac")
    ]
    clean, noisy = scorer.score(clips, 22050)
    assert 1 <= noisy.overall < clean.overall - 0.5 <= 4.5
    assert (clean.signal, clean.background) == (None, None)


def test_loudness_is_not_quality(scorer):
    clip = np.random.default_rng(0).normal(0, 0.1, 9 * RATE).astype(np.float32)
    both = scorer.score([clip, 0.25 * clip], RATE)
    assert both[0].overall == pytest.approx(both[1].overall, abs=1e-3)


def test_facts_name_licence_and_weights(scorer):
    facts = scorer.facts()
    assert facts.licence == "MIT"
    assert len(facts.weights[0].sha256) == 64
