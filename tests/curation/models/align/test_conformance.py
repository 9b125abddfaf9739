"""What every aligner promises, whatever it is made of.

MFA cannot be installed where these run. Of what is promised it keeps the part that is the
adapter's own with a program that leaves every utterance unaligned; its outputs are tried in
`test_mfa.py`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from gpa.curation.audio import resample
from gpa.curation.models.align.mfa import MFAAligner, MFAConfig, MFAModels
from gpa.curation.models.align.pocketsphinx import PocketsphinxAligner, PocketsphinxConfig
from gpa.curation.models.protocols import Aligner, WordAlignment
from tests.curation.models.asr.samples import sample_clip, sample_text

RATE = 16000
CLIPS = ("en/hello_world", "en/counting", "en/quick_brown_fox")


@cache
def pocketsphinx() -> Aligner:
    """Loaded once for all tests."""
    aligner = PocketsphinxAligner(PocketsphinxConfig())
    aligner.load()
    return aligner


def mfa(folder: Path) -> Aligner:
    """MFA with a program that ends well and writes nothing."""
    program = folder / "mfa"
    program.write_text("#!/bin/sh\necho 3.4.3\n")
    program.chmod(0o755)
    for name in ("acoustic.zip", "words.dict"):
        (folder / name).write_bytes(name.encode())
    models = MFAModels(acoustic=str(folder / "acoustic.zip"), dictionary=str(folder / "words.dict"))
    return MFAAligner(MFAConfig(model="mfa", executable=str(program), languages={"en": models}))


@pytest.fixture(params=["pocketsphinx", "mfa"])
def aligner(request: pytest.FixtureRequest, tmp_path: Path) -> Aligner:
    """Every aligner in turn, ready to align."""
    return pocketsphinx() if request.param == "pocketsphinx" else mfa(tmp_path)


@pytest.fixture
def real() -> Aligner:
    """The aligner that finds real words here."""
    return pocketsphinx()


def align_one(
    aligner: Aligner, clip: np.ndarray, text: str, language: str = "en", rate: int = RATE
) -> WordAlignment:
    (found,) = aligner.align([clip], rate, [text.split()], [language])
    assert_whole(found, clip, text, rate)
    return found


def assert_whole(found: WordAlignment, clip: np.ndarray, text: str, rate: int = RATE) -> None:
    """Either all the text's words, as written, rising inside the clip, or a reason why not."""
    if found.error is not None:
        assert found.words == ()
        assert found.error.strip()
        return
    assert [word.word for word in found.words] == text.split()
    edges = [edge for word in found.words for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= len(clip) / rate
    assert all(word.start_s < word.end_s for word in found.words)


@pytest.mark.parametrize("name", CLIPS)
def test_what_was_said_has_its_words_in_time(real: Aligner, name: str):
    assert align_one(real, sample_clip(name), sample_text(name)).error is None


def test_alignments_come_in_the_order_of_the_utterances(real: Aligner):
    clips = [sample_clip(name) for name in CLIPS]
    texts = [sample_text(name).split() for name in CLIPS]
    forth = real.align(clips, RATE, texts, ["en"] * len(clips))
    back = real.align(clips[::-1], RATE, texts[::-1], ["en"] * len(clips))
    assert forth == back[::-1]
    assert len(set(forth)) == len(clips)


def test_a_batch_is_aligned_as_its_utterances_one_by_one(aligner: Aligner):
    clips = [sample_clip(name) for name in CLIPS]
    texts = [sample_text(name) for name in CLIPS]
    together = aligner.align(clips, RATE, [text.split() for text in texts], ["en"] * len(clips))
    assert together == [
        align_one(aligner, clip, text) for clip, text in zip(clips, texts, strict=True)
    ]


def test_an_empty_batch_gives_no_alignments(aligner: Aligner):
    assert aligner.align([], RATE, [], []) == []


@pytest.mark.parametrize("samples", [0, 1, 3200, RATE])
def test_silence_holds_no_text(aligner: Aligner, samples: int):
    silence = np.zeros(samples, np.float32)
    assert align_one(aligner, silence, "these are words that nobody said").error is not None


def test_no_text_says_so(aligner: Aligner):
    assert align_one(aligner, sample_clip("en/hello_world"), "").error is not None


@pytest.mark.parametrize("samples", [3200, 3333, 799, 801, 2 * RATE + 1])
def test_clips_of_a_fifth_of_a_second_and_odd_lengths_do_not_fail(aligner: Aligner, samples: int):
    align_one(aligner, sample_clip("en/counting")[RATE // 2 :][:samples], "one")


def test_almost_half_a_minute_is_aligned(real: Aligner):
    clip = sample_clip("en/counting")
    times = int(29.9 * RATE // len(clip))
    long = np.zeros(round(29.9 * RATE), np.float32)
    long[: times * len(clip)] = np.tile(clip, times)
    found = align_one(real, long, " ".join([sample_text("en/counting")] * times))
    assert found.error is None
    assert found.words[-1].end_s > (times - 1) * len(clip) / RATE


@pytest.mark.parametrize("rate", [22050, 24000, 48000])
def test_a_clip_of_another_rate_is_aligned_in_seconds(real: Aligner, rate: int):
    clip = sample_clip("en/counting")
    text = sample_text("en/counting")
    found = align_one(real, resample(clip, RATE, rate), text, rate=rate)
    expected = align_one(real, clip, text)
    for word, same in zip(found.words, expected.words, strict=True):
        assert word.start_s == pytest.approx(same.start_s, abs=0.05)


def test_a_text_that_was_not_said_has_no_times(real: Aligner):
    found = align_one(real, sample_clip("en/counting"), sample_text("en/quick_brown_fox"))
    assert found.error is not None


def test_a_language_that_it_lacks_is_refused_alone(aligner: Aligner):
    clip = sample_clip("en/counting")
    text = sample_text("en/counting").split()
    refused, other = aligner.align([clip, clip], RATE, [["你", "好"], text], ["xx", "en"])
    assert refused == WordAlignment(error="no aligner for xx")
    assert other == align_one(aligner, clip, " ".join(text))


def test_facts_name_weights_by_hash_before_anything_is_loaded(aligner: Aligner):
    facts = aligner.facts()
    assert facts.weights
    assert all(len(weights.sha256) == 64 for weights in facts.weights)
    assert "en" in facts.languages
