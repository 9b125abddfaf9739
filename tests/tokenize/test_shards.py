"""Token shards are ordinary WebDatasets, the same bytes each time, read without a scan."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import webdataset

from gpa.runtime.errors import UserError
from gpa.tokenize.shards import (
    INDEX,
    INDEX_SCHEMA,
    Provenance,
    TokenShards,
    Utterance,
    UtteranceTokens,
    read_shard,
    write_index,
    write_shard,
)

PROVENANCE = Provenance(text_digest="t", bicodec="b", glm="g", trained=False)


def utterance(number: int, key: str | None = None) -> Utterance:
    rng = np.random.default_rng(number)
    frames = int(rng.integers(1, 400))
    return Utterance(
        utterance_id=key or f"recording-{number:09d}",
        speaker=f"speaker-{number % 3}",
        language="zh" if number % 2 else "en",
        source="corpus",
        text=f"Satz «{number}»",
        duration_s=frames / 50,
        tokens=UtteranceTokens(
            text_tokens=rng.integers(0, 151_643, number % 5, dtype=np.int32),
            glm_tokens=rng.integers(0, 16_384, -(-frames // 4), dtype=np.uint16),
            semantic_tokens=rng.integers(0, 8_192, frames, dtype=np.uint16),
            global_tokens=rng.integers(0, 4_096, 32, dtype=np.uint16),
        ),
    )


def write(folder: Path, shards: int = 2, size: int = 6) -> list[Utterance]:
    utterances = [utterance(number) for number in range(shards * size)]
    rows = []
    for shard in range(shards):
        part = utterances[shard * size : (shard + 1) * size]
        rows += write_shard(folder / f"shard-{shard:06d}.tar", part)
    write_index(folder, rows, PROVENANCE)
    return utterances


def assert_equal(got: UtteranceTokens, expected: UtteranceTokens) -> None:
    for name, array in vars(expected).items():
        np.testing.assert_array_equal(getattr(got, name), array)
        assert getattr(got, name).dtype == array.dtype


def test_every_utterance_is_read_back_by_its_row(tmp_path):
    utterances = write(tmp_path)
    shards = TokenShards(tmp_path)
    assert shards.index.schema.equals(INDEX_SCHEMA)
    assert shards.provenance == PROVENANCE
    for row, expected in enumerate(utterances):
        assert_equal(shards.tokens(row), expected.tokens)
        facts = shards.index.slice(row, 1).to_pylist()[0]
        assert facts["utterance_id"] == expected.utterance_id
        assert facts["duration_s"] == expected.duration_s
        assert facts["semantic_tokens"] == len(expected.tokens.semantic_tokens)


def test_a_tar_alone_says_all_that_is_in_it(tmp_path):
    utterances = write(tmp_path, shards=1)
    for got, expected in zip(read_shard(tmp_path / "shard-000000.tar"), utterances, strict=True):
        assert_equal(got.tokens, expected.tokens)
        for field in dataclasses.fields(Utterance):
            if field.name != "tokens":
                assert getattr(got, field.name) == getattr(expected, field.name)


def test_webdataset_reads_the_tars(tmp_path):
    write(tmp_path, shards=1)
    dataset = webdataset.WebDataset(str(tmp_path / "shard-000000.tar"), shardshuffle=False)
    samples = list(dataset)
    assert len(samples) == 6
    assert {"json", "tokens.safetensors"} <= set(samples[0])


def test_the_same_utterances_give_the_same_bytes(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        write(folder)
    for name in ("shard-000000.tar", "shard-000001.tar", INDEX):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    assert TokenShards(folders[0]).fingerprint == TokenShards(folders[1]).fingerprint


def test_another_order_of_shards_gives_the_same_index(tmp_path):
    rows = [
        write_shard(tmp_path / f"shard-{number:06d}.tar", [utterance(number)]) for number in (0, 1)
    ]
    write_index(tmp_path, rows[0] + rows[1], PROVENANCE)
    first = (tmp_path / INDEX).read_bytes()
    write_index(tmp_path, rows[1] + rows[0], PROVENANCE)
    assert (tmp_path / INDEX).read_bytes() == first


def test_long_keys_keep_their_offsets(tmp_path):
    long = utterance(3, key="k" * 180)
    write_index(tmp_path, write_shard(tmp_path / "s.tar", [utterance(1), long]), PROVENANCE)
    assert_equal(TokenShards(tmp_path).tokens(1), long.tokens)


def test_shards_travel_to_worker_processes(tmp_path):
    utterances = write(tmp_path)
    shards = TokenShards(tmp_path)
    shards.tokens(0)
    assert_equal(pickle.loads(pickle.dumps(shards)).tokens(3), utterances[3].tokens)


@pytest.mark.parametrize("keys", [["a.b"], ["a/b"], ["same", "same"]])
def test_keys_that_webdataset_would_confuse_are_refused(tmp_path, keys):
    with pytest.raises(ValueError, match=r"key|twice"):
        write_shard(tmp_path / "s.tar", [utterance(1, key=key) for key in keys])


def test_a_folder_without_an_index_has_no_token_shards(tmp_path):
    with pytest.raises(UserError, match="make tokenize"):
        TokenShards(tmp_path)


def test_a_cut_tar_is_named(tmp_path):
    write(tmp_path, shards=1)
    path = tmp_path / "shard-000000.tar"
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(UserError, match=r"shard-000000.tar does not hold"):
        TokenShards(tmp_path).tokens(5)


def test_a_missing_tar_is_named(tmp_path):
    write(tmp_path, shards=1)
    (tmp_path / "shard-000000.tar").unlink()
    with pytest.raises(UserError, match=r"shard-000000.tar can't be read"):
        TokenShards(tmp_path).tokens(0)
