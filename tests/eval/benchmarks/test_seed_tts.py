"""seed-tts-eval by hand: what its scripts delete, fold, cut and average."""

from __future__ import annotations

import pytest

from gpa.eval.benchmarks.seed_tts import macro_wer, units, utterance_wer


@pytest.mark.parametrize(
    ("reference", "heard", "wer"),
    [
        # 1 substitution, 4 words; case and marks don't count.
        ("The cat, sat down.", "the cat sat town", 1 / 4),
        # A hyphen is deleted and joins: "wellknown" against two words is 1 substitution, 1 insertion.
        ("A well-known fact", "a well known fact", 2 / 3),
        # The straight apostrophe stays, the curly one is deleted.
        ("don't", "dont", 1.0),
        ("don’t", "dont", 0.0),
        # A dash between spaces leaves no empty word.
        ("yes - no", "yes no", 0.0),
        # Numbers are not folded.
        ("twenty one", "21", 1.0),
        # More insertions than words: over 1.
        ("go", "we go there now", 3.0),
        # Nothing heard.
        ("two words", "", 1.0),
    ],
)
def test_english_is_counted_in_words(reference, heard, wer):
    assert utterance_wer(reference, heard, "en") == pytest.approx(wer)


@pytest.mark.parametrize(
    ("reference", "heard", "wer"),
    [
        # 1 substitution, 4 characters; marks and spaces don't count.
        ("你好，世界。", "你好 是界", 1 / 4),
        # What was heard is put in simplified script.
        ("这个问题", "這個問題", 0.0),
        # Latin letters are characters, and their case counts.
        ("用GPT写", "用gpt写", 3 / 5),
        ("《三体》很好看！", "三体很好", 1 / 5),
    ],
)
def test_mandarin_is_counted_in_characters(reference, heard, wer):
    assert utterance_wer(reference, heard, "zh") == pytest.approx(wer)


def test_a_set_is_the_mean_over_its_utterances_not_over_its_words():
    long = "one two three four five six seven eight nine"
    pairs = [("go", "no"), (long, long)]
    found = macro_wer(pairs, "en")
    assert (found.value, found.count) == (1 / 2, 2)
    assert found.low <= found.value <= found.high


def test_a_text_without_words_is_an_error():
    with pytest.raises(ValueError, match="has no words"):
        utterance_wer("?!", "what", "en")


def test_every_kind_of_mark_is_deleted():
    assert units("“Well,” he said… (so)", "en") == ["well", "he", "said", "so"]
    assert units("他说：「好」——真的、吗？", "zh") == list("他说好真的吗")
