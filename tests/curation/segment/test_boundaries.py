"""Quiet places and cut words, on made signals and on real speech with aligned words."""

import json
import re

import numpy as np
import pytest
import soundfile

from gpa.curation.audio import resample
from gpa.curation.segment.boundaries import (
    is_truncated,
    levels_db,
    loudness,
    pauses,
    quietest,
)

RATE = 16000


def speech_like(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise whose level rises and falls four times a second, with a pause every second."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    syllables = 0.05 + 0.95 * np.abs(np.sin(4 * np.pi * t))
    talking = (t % 1.0) < 0.8
    floor = 0.001 * rng.standard_normal(len(t))
    return (0.2 * syllables * talking * rng.standard_normal(len(t)) + floor).astype(np.float32)


def test_levels_are_decibels_of_full_scale():
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    np.testing.assert_allclose(levels_db(tone, RATE), -3.01, atol=0.01)
    assert levels_db(np.zeros(RATE, np.float32), RATE).max() == -100


def test_loudness_tells_speech_from_the_noise_floor():
    found = loudness(levels_db(speech_like(8), RATE))
    assert found.floor_db == pytest.approx(-60, abs=2)
    assert found.speech_db > -20


def test_pauses_are_the_long_quiet_runs():
    levels = np.array([-20, -60, -60, -20, -60, -60, -60, -20, -60.0])
    assert pauses(levels, -40, shortest_ms=30) == [(4, 7)]
    assert pauses(levels, -40, shortest_ms=10) == [(1, 3), (4, 7), (8, 9)]
    assert pauses(levels, -80, shortest_ms=10) == []


def test_a_boundary_moves_to_the_quietest_place():
    levels = np.full(40, -30.0)
    levels[20:28] = -60
    assert 23 <= quietest(levels, target=16, first=5, last=35) <= 25


def test_in_even_silence_a_boundary_stays_on_target():
    assert quietest(np.full(40, -60.0), target=16, first=5, last=35) == 16


def test_a_cut_in_a_pause_is_clean_and_a_cut_in_a_syllable_is_not():
    speech = speech_like(8)
    assert is_truncated(speech[round(0.9 * RATE) : round(5.9 * RATE)], RATE) == (False, False)
    assert is_truncated(speech[round(1.12 * RATE) : round(5.9 * RATE)], RATE) == (True, False)
    assert is_truncated(speech[round(0.9 * RATE) : round(5.62 * RATE)], RATE) == (False, True)


def test_the_closure_of_a_stop_inside_a_word_is_no_pause():
    speech = speech_like(8)
    # 40 ms of silence in the middle of a syllable; a cut in the middle of that.
    closure = slice(round(1.11 * RATE), round(1.15 * RATE))
    speech[closure] *= 0.001
    at = round(1.13 * RATE)
    assert is_truncated(speech[at:], RATE) == (False, False)
    assert is_truncated(speech, RATE, start=at) == (True, False)
    assert is_truncated(speech, RATE, end=at)[1]


def test_a_boundary_in_a_pause_is_clean_whatever_lies_beyond():
    speech = speech_like(8)
    start, end = round(0.9 * RATE), round(5.9 * RATE)
    assert is_truncated(speech, RATE, start, end) == (False, False)


def aligned_words(speech, rate, text):
    """(word, start, end) in frames of 10 ms; empty where a word has no pronunciation."""
    pocketsphinx = pytest.importorskip("pocketsphinx")
    aligner = pocketsphinx.Decoder(
        samprate=16000, loglevel="FATAL", beam=1e-80, wbeam=1e-60, pbeam=1e-80, bestpath=False
    )
    words = re.sub(r"[^a-z' ]", " ", text.lower()).split()
    if any(not aligner.lookup_word(word) for word in words):
        return []
    pcm = resample(speech, rate, 16000)
    aligner.set_align_text(" ".join(words))
    aligner.start_utt()
    aligner.process_raw((pcm / np.abs(pcm).max() * 20000).astype(np.int16).tobytes(), full_utt=True)
    aligner.end_utt()
    if aligner.hyp() is None:
        return []
    return [(entry.word, entry.start_frame, entry.end_frame + 1) for entry in aligner.seg()]


def cuts(speech, rate, words, rng):
    """(inside a word?, clip turned so that the cut is at its start).

    Cuts inside words lie in the middle half of words of 150 ms and more; clean cuts in the
    quietest place of pauses of 150 ms and more, and at the recording's own ends.
    """
    levels = levels_db(speech, rate)
    for word, start, end in words:
        silent = word.startswith("<")
        if end - start < 15 or (silent and (start < 10 or end > len(levels) - 10)):
            continue
        at = (
            start + 3 + np.argmin(levels[start + 3 : end - 4])
            if silent
            else start + (end - start) * rng.uniform(0.25, 0.75)
        )
        sample = round(at * rate / 100)
        for clip in (speech[sample:], speech[:sample][::-1]):
            if len(clip) >= rate:
                yield not silent, clip[: 8 * rate]
    for clip in (speech, speech[::-1]):
        yield False, clip[: 8 * rate]


@pytest.mark.slow
def test_nine_cuts_inside_words_of_ten_are_caught_and_nearly_all_clean_cuts_kept(shared_speech):
    rng = np.random.default_rng(0)
    caught, dropped, read = [], [], 0
    for line in (shared_speech / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        path = shared_speech / entry["path"]
        if path.parent.name not in ("en_libri", "en_lj") or path.suffix == ".mp3":
            continue
        if (read := read + 1) % 2:  # each second one is enough of both readings
            continue
        speech, rate = soundfile.read(path, dtype="float32")
        words = aligned_words(speech, rate, entry["text"])
        if words:
            speech = resample(speech, rate, 24000)
            for inside_word, clip in cuts(speech, 24000, words, rng):
                (caught if inside_word else dropped).append(is_truncated(clip, 24000)[0])
    assert len(caught) > 500
    assert len(dropped) > 100
    assert np.mean(caught) >= 0.9
    # Natural ends of LibriSpeech that hold the rest of a neighbouring word count as clean here.
    assert np.mean(dropped) <= 0.055
