"""Token shards are plain Arrow files, the same bytes each time, read without a scan."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from gpa.runtime.errors import UserError
from gpa.tokenize.shards import (
    INDEX,
    INDEX_SCHEMA,
    TOKENS_SCHEMA,
    Provenance,
    TokenShards,
    Utterance,
    UtteranceTokens,
    speaker_key,
    token_rows,
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
        rows.append(write_shard(folder / f"shard-{shard:06d}.arrow", token_rows(part)))
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
    assert len(shards) == len(utterances)
    for number, expected in enumerate(utterances):
        assert_equal(shards.tokens(number), expected.tokens)


def test_the_index_counts_what_each_shard_holds(tmp_path):
    utterances = write(tmp_path)
    for row, part in zip(
        TokenShards(tmp_path).index.to_pylist(), (utterances[:6], utterances[6:]), strict=True
    ):
        assert row["utterances"] == 6
        assert row["duration_s"] == pytest.approx(sum(each.duration_s for each in part))
        for kind in ("text_tokens", "glm_tokens", "semantic_tokens"):
            assert row[kind] == sum(len(getattr(each.tokens, kind)) for each in part)


def test_a_shard_alone_says_all_that_is_in_it(tmp_path):
    utterances = write(tmp_path, shards=1)
    table = TokenShards(tmp_path).table(TOKENS_SCHEMA.names)
    for got, expected in zip(table.to_pylist(), utterances, strict=True):
        assert got.pop("speaker_key") == speaker_key(expected.speaker)
        for kind, array in vars(expected.tokens).items():
            assert got.pop(kind) == array.tolist()
        assert got == {name: getattr(expected, name) for name in got}


def test_datasets_and_pyarrow_read_the_shards_as_they_are(tmp_path):
    utterances = write(tmp_path)
    dataset = load_dataset(
        "arrow",
        data_files=str(tmp_path / "*.arrow"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    table = pa.dataset.dataset(sorted(tmp_path.glob("*.arrow")), format="ipc").to_table()
    for rows in (dataset, table.to_pylist()):
        for got, expected in zip(rows, utterances, strict=True):
            assert got["utterance_id"] == expected.utterance_id
            assert got["semantic_tokens"] == expected.tokens.semantic_tokens.tolist()


def test_a_shard_is_hardly_larger_than_its_tokens(tmp_path):
    """Utterances of 8 s, with the text and the names that speech of that length has."""
    utterances = []
    for number in range(200):
        tokens = utterance(number).tokens
        rng = np.random.default_rng(number)
        tokens = UtteranceTokens(
            text_tokens=rng.integers(0, 151_643, 28, dtype=np.int32),
            glm_tokens=rng.integers(0, 16_384, 100, dtype=np.uint16),
            semantic_tokens=rng.integers(0, 8_192, 400, dtype=np.uint16),
            global_tokens=tokens.global_tokens,
        )
        name = f"{number:016x}-{number:09d}"
        text = "word" + " of them" * 15
        utterances.append(Utterance(name, f"{name[:16]}-S0", "en", "radio", text, 8.0, tokens))
    write_shard(tmp_path / "shard.arrow", token_rows(utterances))
    tokens_bytes = sum(array.nbytes for each in utterances for array in vars(each.tokens).values())
    assert (tmp_path / "shard.arrow").stat().st_size / tokens_bytes < 1.3


def test_the_same_utterances_give_the_same_bytes(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        write(folder)
    for name in ("shard-000000.arrow", "shard-000001.arrow", INDEX):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    assert TokenShards(folders[0]).fingerprint == TokenShards(folders[1]).fingerprint


def test_another_order_of_shards_gives_the_same_index(tmp_path):
    rows = [
        write_shard(tmp_path / f"shard-{number:06d}.arrow", token_rows([utterance(number)]))
        for number in (0, 1)
    ]
    write_index(tmp_path, rows, PROVENANCE)
    first = (tmp_path / INDEX).read_bytes()
    write_index(tmp_path, rows[::-1], PROVENANCE)
    assert (tmp_path / INDEX).read_bytes() == first


def test_a_shard_without_utterances_is_read_too(tmp_path):
    parts = [], [utterance(1)], []
    rows = [write_shard(tmp_path / f"s{n}.arrow", token_rows(part)) for n, part in enumerate(parts)]
    write_index(tmp_path, rows, PROVENANCE)
    shards = TokenShards(tmp_path)
    assert len(shards) == 1
    assert_equal(shards.tokens(0), utterance(1).tokens)
    assert [batch.num_rows for batch in shards.shards()] == [0, 1, 0]


def test_shards_travel_to_worker_processes(tmp_path):
    utterances = write(tmp_path)
    shards = TokenShards(tmp_path)
    shards.tokens(0)
    assert_equal(pickle.loads(pickle.dumps(shards)).tokens(3), utterances[3].tokens)


def test_a_folder_without_an_index_has_no_token_shards(tmp_path):
    with pytest.raises(UserError, match="make tokenize"):
        TokenShards(tmp_path)


def test_a_folder_of_the_version_before_is_refused_in_one_sentence(tmp_path):
    about = json.dumps({"format": 1, "text_digest": "t", "bicodec": "b", "glm": "g"})
    table = pa.table({"shard": ["s.tar"], "offset": [512]})
    pq.write_table(table.replace_schema_metadata({"gpa.tokens": about}), tmp_path / INDEX)
    with pytest.raises(UserError, match=r"^[^.]*index.parquet is no token index of this version"):
        TokenShards(tmp_path)


def test_a_cut_or_exchanged_shard_is_named(tmp_path):
    write(tmp_path)
    path = tmp_path / "shard-000000.arrow"
    path.write_bytes(path.read_bytes()[:1500])
    write_shard(tmp_path / "shard-000001.arrow", token_rows([utterance(1)]))
    for number, name in ((5, "shard-000000"), (6, "shard-000001")):
        with pytest.raises(UserError, match=rf"{name}.arrow does not hold"):
            TokenShards(tmp_path).tokens(number)


def test_a_missing_shard_is_named(tmp_path):
    write(tmp_path, shards=1)
    (tmp_path / "shard-000000.arrow").unlink()
    with pytest.raises(UserError, match=r"shard-000000.arrow can't be read"):
        TokenShards(tmp_path).tokens(0)
