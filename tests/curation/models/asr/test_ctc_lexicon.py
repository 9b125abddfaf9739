from __future__ import annotations

import jiwer
import numpy as np
import pytest

from gpa.curation.models.asr.ctc_lexicon import (
    BLANK_COLUMN,
    BOUNDARY_COLUMN,
    IPA_OF_PHONE,
    PHONES,
    SPELLINGS_PER_PRONUNCIATION,
    CTCLexicon,
    CTCLexiconConfig,
    PhonemeRecogniser,
    as_the_recogniser_learnt,
    cmudict,
    phone_posteriors,
    prune_homophones,
    timed_words,
)
from gpa.curation.models.protocols import ASR, Hypothesis
from tests.curation.models.asr.samples import sample_clip


def test_clear_speech_is_heard_about_right(ctc: ASR):
    (hypothesis,) = ctc.transcribe([sample_clip("en/quick_brown_fox")], 16000, ["en"])
    assert isinstance(hypothesis, Hypothesis)
    said = "the quick brown fox jumps over the lazy dog"
    assert jiwer.wer(said, hypothesis.text) <= 0.5


def test_nothing_is_written_to_the_terminal_while_it_loads(capfd):
    CTCLexicon(CTCLexiconConfig(vocabulary=5000, learnt_words=50, beam_size=50)).load()
    assert capfd.readouterr() == ("", "")


def test_the_posteriors_of_a_phone_are_the_sum_over_its_ipa_tokens():
    tokens = PhonemeRecogniser().tokens
    probabilities = np.random.default_rng(0).dirichlet(np.ones(len(tokens)), size=3)
    merged = np.exp(phone_posteriors(np.log(probabilities).astype(np.float32), tokens))
    assert merged.shape == (3, len(PHONES) + 2)
    for column, phone in enumerate(PHONES):
        expected = sum(probabilities[:, tokens.index(token)] for token in IPA_OF_PHONE[phone])
        np.testing.assert_allclose(merged[:, column], expected, rtol=1e-4)
    np.testing.assert_allclose(merged[:, BLANK_COLUMN], probabilities[:, -1], rtol=1e-4)


def test_no_ipa_token_stands_for_two_phones():
    tokens = [token for tokens in IPA_OF_PHONE.values() for token in tokens]
    assert len(tokens) == len(set(tokens))


def test_a_word_lasts_from_its_first_phone_to_its_last():
    path = [BLANK_COLUMN, 0, 0, BLANK_COLUMN, 1, BOUNDARY_COLUMN, BLANK_COLUMN, 2]
    word_ends = [-1, -1, -1, -1, 5, -1, -1, 7]
    emissions = np.full((len(path), BLANK_COLUMN + 1), np.log(0.5), np.float32)
    words = timed_words(path, word_ends, emissions, [f"word{index}" for index in range(8)])
    assert [(word.word, word.start_s, word.end_s) for word in words] == [
        ("word5", 0.02, 0.1),
        ("word7", 0.14, 0.16),
    ]
    assert [word.confidence for word in words] == [pytest.approx(0.5)] * 2


def test_the_dictionarys_variants_are_pronunciations_of_one_word():
    lexicon = cmudict(["read R EH D", "read(2) R IY D", "red R EH D"])
    assert lexicon == {"read": [("R", "EH", "D"), ("R", "IY", "D")], "red": [("R", "EH", "D")]}


def test_the_rarest_of_too_many_spellings_are_dropped():
    words = [f"spelling{index}" for index in range(SPELLINGS_PER_PRONUNCIATION + 2)]
    log10_of_word = {word: -float(index) for index, word in enumerate(words)}
    kept = prune_homophones({word: [("AH",)] for word in words}, log10_of_word)
    assert sorted(kept) == sorted(words[:SPELLINGS_PER_PRONUNCIATION])


def test_only_words_that_the_language_model_knows_are_kept():
    assert prune_homophones({"cat": [("K", "AE", "T")]}, {"dog": -1.0}) == {}


def test_frequent_words_are_pronounced_as_the_recogniser_learnt_them():
    learnt = as_the_recogniser_learnt(["has", "on"])
    assert learnt["has"] == [("HH", "AA", "Z")]  # the dictionary has HH AE Z
    assert set(learnt["on"][0]) <= set(PHONES)
