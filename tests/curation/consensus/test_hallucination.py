"""What no speaker said, in scripts with and without spaces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.consensus.hallucination import (
    HallucinationConfig,
    compression_ratio,
    find_hallucination,
    longest_loop,
)
from gpa.curation.text.units import units

CONFIG = HallucinationConfig()


def found(text: str, language: str, duration_s: float) -> str | None:
    hallucination = find_hallucination(units(text, language), duration_s, CONFIG)
    return hallucination.reason if hallucination else None


def test_a_clean_chinese_sentence_passes_though_it_has_no_spaces():
    assert (
        found("今天天气很好我们一起去公园散步然后回家吃饭再看一部有意思的电影", "zh", 7.0) is None
    )


def test_a_chinese_word_said_twenty_times_is_a_loop():
    assert found("谢谢" * 20, "zh", 12.0) == "loop"


def test_an_english_loop_is_found_and_emphasis_is_not():
    assert found("I know. " * 12, "en", 8.0) == "loop"
    assert found("no, no, no, no, I won't", "en", 3.0) is None
    assert found("哈哈哈哈哈，太好了", "zh", 3.0) is None


def test_a_loop_with_changing_words_is_found_by_compression():
    text = " ".join(f"so we go to the {place} and then we go to the shop" for place in "abcdefgh")
    assert longest_loop(units(text, "en"), CONFIG.loop_units) < CONFIG.loop_repeats
    assert found(text, "en", 30.0) == "compression"


def test_more_than_can_be_said_is_too_fast():
    text = "Thank you very much for watching this video and see you in the next one."
    assert found(text, "en", 1.0) == "too_fast"
    assert found(text, "en", 4.0) is None
    assert found("感谢您的观看请不要忘记点赞订阅转发打赏支持", "zh", 1.0) == "too_fast"


def test_hardly_any_text_for_a_long_clip_is_too_slow():
    assert found("you", "en", 10.0) == "too_slow"
    assert found("好", "zh", 10.0) == "too_slow"
    assert found("Yes.", "en", 2.5) is None


def test_silence_is_believed_however_long():
    assert found("", "en", 30.0) is None


@given(
    phrase=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4),
    repeats=st.integers(2, 12),
    around=st.lists(st.sampled_from("xyz"), max_size=3, unique=True),
)
def test_a_phrase_repeated_is_counted_wherever_it_stands(phrase, repeats, around):
    assert longest_loop([*around, *phrase * repeats, *around]) >= repeats


def test_compression_does_not_depend_on_the_script():
    english = [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "iota",
        "kappa",
    ] * 3
    chinese = list("甲乙丙丁戊己庚辛壬癸") * 3
    assert compression_ratio(english) == compression_ratio(chinese)


def test_true_transcripts_of_real_speech_pass(shared_speech):
    struck = checked = 0
    for line in (shared_speech / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        clip = json.loads(line)
        if not clip.get("text") or clip.get("text_ok") is False or clip["category"] == "edge":
            continue
        said = units(clip["text"], clip["language"])
        checked += 1
        struck += find_hallucination(said, clip["duration_s"], CONFIG) is not None
    assert checked > 100
    assert struck == 0


@pytest.mark.parametrize("limit", ["loop_repeats", "max_letters_per_s"])
def test_limits_are_positive(limit):
    with pytest.raises(ValueError, match=limit):
        HallucinationConfig(**{limit: 0})
