from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpa.curation.models.asr.ngrams import LOG10_OF_BASE, Trigrams, read_trigrams, write_arpa
from gpa.curation.models.weights import wheel_file


@pytest.fixture(scope="module")
def path() -> Path:
    return wheel_file("pocketsphinx", "pocketsphinx/model/en-us/en-us.lm.bin")


@pytest.fixture(scope="module")
def trigrams(path: Path) -> Trigrams:
    return read_trigrams(path)


def test_probabilities_are_those_that_pocketsphinx_reads(path: Path, trigrams: Trigrams):
    from pocketsphinx import NGramModel

    reference = NGramModel.readfile(str(path))
    seeded = np.random.default_rng(0)
    for grams, log10 in (
        (trigrams.bigram_words, trigrams.bigram_log10),
        (trigrams.trigram_words, trigrams.trigram_log10),
    ):
        for index in seeded.integers(0, len(grams), 200):
            backwards = [trigrams.words[word] for word in grams[index][::-1]]
            expected = reference.prob(backwards) * LOG10_OF_BASE
            assert log10[index] == pytest.approx(expected, abs=1e-3)


def test_kenlm_reads_the_arpa_and_backs_off_as_pocketsphinx_does(
    path: Path, trigrams: Trigrams, tmp_path: Path
):
    import kenlm
    from pocketsphinx import NGramModel

    vocabulary = frozenset(["the", "of", "a", "cat", "sat", "on", "mat", "world", "new", "york"])
    write_arpa(trigrams, vocabulary, tmp_path / "small.arpa")
    model = kenlm.Model(str(tmp_path / "small.arpa"))
    reference = NGramModel.readfile(str(path))
    for text in ("the cat", "new york the", "mat cat sat", "of the world"):
        *_, (log10, _, unknown) = model.full_scores(text, bos=False, eos=False)
        assert not unknown
        expected = reference.prob(text.split()[::-1]) * LOG10_OF_BASE
        assert log10 == pytest.approx(expected, abs=2e-3)


def test_another_kind_of_file_is_refused(tmp_path: Path):
    (tmp_path / "lm.bin").write_bytes(b"\\data\\\n")
    with pytest.raises(ValueError, match="no binary trigram model"):
        read_trigrams(tmp_path / "lm.bin")
