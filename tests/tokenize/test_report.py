"""The totals of a tokenize job say what is there, and its books balance or the job stops."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.runtime.errors import UserError
from gpa.runtime.stage import REJECT_SCHEMA
from gpa.tokenize.report import card, check_books, perplexity, totals
from gpa.tokenize.shards import (
    Provenance,
    TokenShards,
    Utterance,
    UtteranceTokens,
    token_rows,
    write_index,
    write_shard,
)
from gpa.tokenize.small import NOTICE

COUNTS = st.lists(st.integers(0, 1000), min_size=1, max_size=50)


def utterance(number: int) -> Utterance:
    """Its semantic tokens are 0 .. number, its GLM tokens all alike."""
    tokens = UtteranceTokens(
        text_tokens=np.arange(3, dtype=np.int32),
        glm_tokens=np.full(4, 7, np.uint16),
        semantic_tokens=np.arange(number + 1, dtype=np.uint16),
        global_tokens=np.arange(32, dtype=np.uint16),
    )
    return Utterance(f"u{number}", "s", "en", "corpus", "text", 1.5, tokens)


def shards(folder, count: int, trained: bool) -> TokenShards:
    rows = token_rows([utterance(number) for number in range(count)])
    write_index(folder, [write_shard(folder / "s.arrow", rows)], Provenance("t", "b", "g", trained))
    return TokenShards(folder)


def rejected(*names: str) -> pa.Table:
    rows = [
        {"recording_id": "r", "utterance_id": name, "reason": "no_tokens", "seconds": 0.25}
        for name in names
    ]
    return pa.Table.from_pylist(rows, REJECT_SCHEMA)


def test_totals_count_tokens_codes_and_rejects(tmp_path):
    report = totals(shards(tmp_path, 4, trained=True), rejected("x", "y"), worker_s=2.0)
    assert report["utterances"] == 4
    assert report["curated_utterances"] == 6
    assert report["rejected"] == {"no_tokens": 2}
    assert (report["seconds"], report["rejected_seconds"]) == (6.0, 0.5)
    assert report["tokens"] == {
        "text_tokens": 12, "glm_tokens": 16, "semantic_tokens": 10, "global_tokens": 128,
        "all": 166,
    }  # fmt: skip
    assert report["tokens_per_worker_s"] == 83.0
    assert report["codebooks"]["glm_tokens"] == {"codes": 16384, "used": 1, "perplexity": 1.0}
    assert report["codebooks"]["global_tokens"] == {"codes": 4096, "used": 32, "perplexity": 32.0}
    assert report["codebooks"]["semantic_tokens"]["used"] == 4


def test_codebooks_are_counted_over_a_spread_of_a_large_corpus(tmp_path):
    report = totals(shards(tmp_path, 9, trained=True), rejected(), worker_s=1.0, counted=3)
    # Of nine utterances those in rows 0, 3 and 6, the last of which has codes 0 to 6.
    assert report["codebooks"]["semantic_tokens"]["used"] == 7


def test_a_job_that_tokenized_nothing_has_totals_too(tmp_path):
    report = totals(shards(tmp_path, 0, trained=True), rejected("x"), worker_s=0.0)
    assert report["tokens"]["all"] == 0
    assert report["tokens_per_worker_s"] is None
    assert report["codebooks"]["glm_tokens"]["perplexity"] == 0.0


def test_report_and_card_warn_of_small_tokenizers_and_of_no_others(tmp_path):
    for trained in (False, True):
        folder = tmp_path / str(trained)
        folder.mkdir()
        report = totals(shards(folder, 1, trained), rejected(), worker_s=1.0)
        assert (NOTICE in card(report)) is not trained
        assert report["notice"] == (None if trained else NOTICE)


def test_the_books_balance_where_each_utterance_is_tokenized_or_rejected():
    check_books(["a", "b", "c"], ["c", "a"], ["b"])
    check_books([], [], [])


@pytest.mark.parametrize(
    ("tokenized", "dropped"), [(["a"], ["b"]), (["a", "b", "c"], ["c"]), (["a", "b"], ["x"])]
)
def test_an_utterance_lost_or_counted_twice_stops_the_job(tokenized, dropped):
    with pytest.raises(UserError, match="3 utterances were curated"):
        check_books(["a", "b", "c"], tokenized, dropped)


@given(COUNTS)
def test_perplexity_lies_between_one_and_the_codes_in_use(counts):
    counts = np.asarray(counts)
    used = np.count_nonzero(counts)
    assert min(1, used) - 1e-9 <= perplexity(counts) <= used + 1e-9


@given(st.integers(1, 1000), st.integers(1, 100), COUNTS)
def test_perplexity_is_the_number_of_codes_that_are_equally_frequent(codes, each, counts):
    assert perplexity(np.full(codes, each)) == pytest.approx(codes)
    # Neither order nor the total matter, nor codes that never occur.
    changed = np.concatenate([np.zeros(3, np.int64), np.asarray(counts)[::-1] * each])
    assert perplexity(changed) == pytest.approx(perplexity(np.asarray(counts)))
