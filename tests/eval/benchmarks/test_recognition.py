"""Error rates of recognition: NIST's own scorer beside ours, and each set's units."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.eval.benchmarks.recognition import (
    authors_error_rate,
    characters,
    english_words,
    error_rate,
    join_hyphens,
)
from gpa.eval.metrics import errors

# Debian keeps the programs of package sctk outside PATH.
NIST = shutil.which("sclite") or shutil.which("sclite", path="/usr/lib/sctk/bin")
needs_nist = pytest.mark.skipif(
    NIST is None, reason="NIST's sclite is not installed (Debian package sctk)"
)

SAID = "the a of quick brown fox jumps over lazy dog it's naïve façade Zürich okay ha one two"
ENGLISH = SAID.split()
MANDARIN = list("今天天气真好我们一起去看海鸥吧零一二三")
# (reference, hypothesis) where scorers differ when they are wrong.
EDGES = [
    ("", ""),
    ("", "words that nobody said"),
    ("everything was missed", ""),
    ("ha ha ha ha ha", "ha ha"),
    ("ha ha", "ha ha ha ha ha ha"),
    ("the the cat", "the cat cat"),
    ("one", "one and a half"),
    ("naïve façade", "naive facade"),
    ("Zürich", "ZÜRICH"),
    ("a b c d", "d c b a"),
]


def _misheard(said: list[str], vocabulary: list[str], rng: random.Random) -> list[str]:
    """What a recogniser with errors in a quarter of its words makes of it."""
    heard: list[str] = []
    for unit in said:
        luck = rng.random()
        if luck >= 0.08:
            heard.append(rng.choice(vocabulary) if luck < 0.16 else unit)
        if luck >= 0.92:
            heard.append(rng.choice(vocabulary))
    return heard


def _pairs(vocabulary: list[str], between: str, count: int) -> list[tuple[str, str]]:
    rng = random.Random(f"{between}{count}")
    sentences = [rng.choices(vocabulary, k=rng.randint(1, 25)) for _ in range(count)]
    return [
        (between.join(said), between.join(_misheard(said, vocabulary, rng))) for said in sentences
    ]


def _sclite(pairs: list[tuple[str, str]], folder: Path, *options: str) -> list[tuple[int, int]]:
    """(edits, reference units) of each pair, as NIST's program counts them."""
    for side, name in enumerate(("reference", "hypothesis")):
        lines = [f"{pair[side]} (nobody-{number:04d})\n" for number, pair in enumerate(pairs)]
        (folder / name).write_text("".join(lines), encoding="utf-8")
    command = [str(NIST), "-r", str(folder / "reference"), "trn", "-h", str(folder / "hypothesis")]
    command += ["trn", "-i", "rm", "-s", "-e", "utf-8", "-o", "pra", "stdout", *options]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    said = done.stdout.decode("utf-8", "replace")
    found = re.findall(
        r"id: \(nobody-(\d+)\)\nScores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)", said
    )
    counts = {int(key): tuple(map(int, scores)) for key, *scores in found}
    assert len(counts) == len(pairs)
    return [
        (wrong + missing + added, right + wrong + missing)
        for right, wrong, missing, added in (counts[number] for number in range(len(pairs)))
    ]


@needs_nist
def test_word_errors_are_those_of_nist_sclite(tmp_path):
    pairs = EDGES + _pairs(ENGLISH, " ", 240)
    theirs = _sclite(pairs, tmp_path)
    ours = [errors(reference.split(), heard.split()) for reference, heard in pairs]
    assert [(each.edits, each.reference_units) for each in ours] == theirs
    edits, words = (sum(column) for column in zip(*theirs, strict=True))
    assert error_rate((r.split(), h.split()) for r, h in pairs).value == edits / words


@needs_nist
def test_character_errors_are_those_of_nist_sclite(tmp_path):
    mixed = [("今天 GPT 很好", "今天gpt好"), ("", "嗯"), ("好", ""), ("哈哈哈哈", "哈哈"), ("", "")]
    pairs = mixed + _pairs(MANDARIN, "", 240)
    # NIST's program knows no case folding beyond ASCII's, so the texts are given in one case.
    theirs = _sclite([(r.lower(), h.lower()) for r, h in pairs], tmp_path, "-c")
    ours = [errors(characters(reference), characters(heard)) for reference, heard in pairs]
    assert [(each.edits, each.reference_units) for each in ours] == theirs


@given(st.lists(st.tuples(st.text("ab c", min_size=1).filter(str.strip), st.text("ab c"))))
def test_word_errors_are_those_of_jiwer(pairs):
    ours = error_rate((r.split(), h.split()) for r, h in pairs)
    if pairs:
        theirs = jiwer.wer(*map(list, zip(*pairs, strict=True)))
        assert ours.value == pytest.approx(theirs)


def test_librispeech_is_counted_after_whispers_normaliser():
    said = english_words("MISTER QUILTER'S COLOUR WASN'T WORTH TWENTY FIVE DOLLARS")
    assert said == english_words("Mr. Quilter's color was not worth $25.")


def test_aishell_is_counted_in_characters_whatever_the_marks_and_spaces():
    assert characters("甚至 出现 交易 几乎 停滞 的 情况") == characters(
        "甚至出现交易，几乎停滞的情况。"
    )
    assert characters("ＧＰＴ 好") == ["g", "p", "t", "好"]


def test_the_authors_weighting_is_by_characters_of_the_reference():
    # Of 2 + 8 characters, one utterance is all wrong and one is right.
    pairs = [(["hi"], ["no"]), (["eighteen"], ["eighteen"])]
    assert authors_error_rate(pairs).value == pytest.approx(2 / 10)
    assert error_rate(pairs).value == 1 / 2
    assert authors_error_rate([([], ["invented"]), *pairs]).value == pytest.approx(2 / 10)


def test_the_authors_join_words_with_hyphens():
    # In units of words one error of two becomes one of one.
    assert english_words(join_hyphens("well-known")) == ["wellknown"]
