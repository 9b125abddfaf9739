"""`TOKENIZER=small`: the same files from the same seed, whole or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gpa.tokenize import small
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.small import small_tokenizers

FIXTURE = Path(__file__).parent / "fixtures" / "small_seed0.npz"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first = small_tokenizers(tmp_path / "a", seed=3)[0].parent
    again = small_tokenizers(tmp_path / "b", seed=3)[0].parent
    other = small_tokenizers(tmp_path / "b", seed=4)[0].parent
    assert contents(first) == contents(again)
    assert contents(first) != contents(other)
    assert first.name == again.name != other.name


def test_a_cached_checkpoint_is_not_written_again(tmp_path, monkeypatch):
    folders = small_tokenizers(tmp_path, seed=0)

    def refuse(*_):
        raise AssertionError("written again")

    monkeypatch.setattr(small, "_write_both", refuse)
    assert small_tokenizers(tmp_path, seed=0) == folders


def test_a_broken_off_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(folder: Path, seed: int) -> None:
        (folder / "half").write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(small, "_write_both", fail)
    with pytest.raises(OSError, match="disk full"):
        small_tokenizers(tmp_path, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_several_at_once_make_one_checkpoint(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: small_tokenizers(tmp_path, seed=0), range(4)))
    assert len(set(folders)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [folders[0][0].parent.name]
    BiCodec.load(folders[0][0])
    GLMTokenizer.load(folders[0][1])


def test_tokens_of_small_tokenizers_vary_with_the_audio(bicodec, glm, speech):
    clip = speech(80_000)
    (tokens,) = bicodec.encode([clip], 16000)
    assert len(set(tokens.semantic_tokens)) > 100
    assert len(set(tokens.global_tokens)) > 20
    assert len(set(glm.encode([clip], 16000)[0])) > 20


def test_tokens_and_waveforms_are_those_that_were_recorded(bicodec, glm):
    """The repository's own regression fixture; fixtures/make.py made it."""
    with np.load(FIXTURE) as recorded:
        clip = recorded["clip"].astype(np.float32) / 32768
        (tokens,) = bicodec.encode([clip], 16000)
        np.testing.assert_array_equal(tokens.semantic_tokens, recorded["semantic_tokens"])
        np.testing.assert_array_equal(tokens.global_tokens, recorded["global_tokens"])
        np.testing.assert_array_equal(glm.encode([clip], 16000)[0], recorded["glm_tokens"])
        waveform = bicodec.decode(recorded["semantic_tokens"], recorded["global_tokens"])
        np.testing.assert_allclose(waveform[::25], recorded["every_25th_sample"], atol=1e-4)
