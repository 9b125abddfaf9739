"""The embedded aligner on real speech, against times that MFA's authors published."""

from itertools import pairwise

import numpy as np
import pytest
import soundfile
from praatio.textgrid import openTextgrid

from gpa.curation.models.align.pocketsphinx import (
    PocketsphinxAligner,
    PocketsphinxConfig,
    arpabet,
)
from gpa.curation.models.protocols import Word
from tests.curation.models.memory import left_behind

TEXT = "it is of the first importance that the letter used should be fine in form"


@pytest.fixture(scope="module")
def aligner():
    loaded = PocketsphinxAligner(PocketsphinxConfig())
    loaded.load()
    return loaded


@pytest.fixture(scope="module")
def clip(shared_speech):
    return soundfile.read(shared_speech / "en_lj/LJ001-0011.flac", dtype="float32")


def align(aligner, clip, text, language="en"):
    waveform, sample_rate = clip
    return aligner.align([waveform], sample_rate, [text.split()], [language])[0]


def test_it_names_its_weights():
    facts = PocketsphinxAligner(PocketsphinxConfig()).facts()
    assert facts.languages == {"en"}
    assert len({weights.sha256 for weights in facts.weights}) == len(facts.weights)


def test_nothing_stays_in_memory_when_its_adapter_is_gone(clip):
    def used():
        adapter = PocketsphinxAligner(PocketsphinxConfig())
        adapter.load()
        align(adapter, clip, TEXT)
        return adapter

    assert left_behind(used) == []


def test_long_pauses_agree_with_mfa(aligner, shared_speech):
    grid = openTextgrid(str(shared_speech / "en_mfa/acoustic_corpus.TextGrid"), False)
    truth = [Word(label, start, end) for start, end, label in grid.getTier("words").entries]
    waveform, sample_rate = soundfile.read(
        shared_speech / "en_mfa/acoustic_corpus.wav", dtype="float32"
    )
    found = aligner.align([waveform], sample_rate, [[w.word for w in truth]], ["en"])[0]
    assert found.error is None
    assert [word.word for word in found.words] == [word.word for word in truth]
    starts = [abs(a.start_s - b.start_s) for a, b in zip(found.words, truth, strict=True)]
    assert np.median(starts) <= 0.03

    def long_pauses(words):
        gaps = pairwise(words)
        return {i for i, (a, b) in enumerate(gaps) if b.start_s - a.end_s >= 0.3}

    assert long_pauses(found.words) == long_pauses(truth)


def test_one_word_for_each_written_word_numbers_too(aligner, shared_speech):
    clip = soundfile.read(shared_speech / "en_lj/LJ001-0031.flac", dtype="float32")
    text = "In 1465 Sweynheim and Pannartz began printing in the monastery of Subiaco near Rome"
    found = align(aligner, clip, text)
    assert [word.word for word in found.words] == text.split()
    assert found.words[1].end_s - found.words[1].start_s > 0.7  # fourteen sixty-five
    edges = [edge for word in found.words for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges)


def test_the_score_tells_what_was_said_from_what_was_not(aligner, clip, shared_speech):
    other = soundfile.read(shared_speech / "en_lj/LJ001-0001.flac", dtype="float32")
    assert align(aligner, clip, TEXT).score > -20
    wrong = align(aligner, other, TEXT)
    assert wrong.score < -45
    assert wrong.words == ()
    assert "below -45" in wrong.error


def test_what_was_aligned_before_changes_nothing(clip, aligner, shared_speech):
    other = soundfile.read(shared_speech / "en_lj/LJ001-0008.flac", dtype="float32")
    first = align(aligner, clip, TEXT)
    assert align(aligner, clip, TEXT) == first
    align(aligner, other, "has never been surpassed xyzzyplugh")
    assert align(aligner, clip, TEXT) == first


@pytest.mark.parametrize(
    ("text", "language", "error"),
    [
        ("你 好", "zh", "no aligner for zh"),
        ("", "en", "no words to align"),
        ("hello ♪", "en", "no pronunciation for '♪'"),
        (" ".join([TEXT] * 20), "en", "the text does not fit into the audio"),
    ],
)
def test_what_cannot_be_aligned_says_why(aligner, clip, text, language, error):
    found = align(aligner, clip, text, language)
    assert (found.words, found.error) == ((), error)


def test_an_empty_waveform_is_an_error_of_its_row(aligner, clip):
    found = aligner.align(
        [np.zeros(0, np.float32), clip[0]], clip[1], [["hello"], TEXT.split()], ["en", "en"]
    )
    assert found[0].error == "no audio"
    assert found[1].error is None


def test_ipa_becomes_arpabet():
    assert arpabet("t͡ʃɝt͡ʃ") == ["CH", "ER", "CH"]
    assert arpabet("sweɪnhaɪm") == ["S", "W", "EY", "N", "HH", "AY", "M"]
    assert arpabet("s u β̞ j") == ["S", "UW", "B", "Y"]
