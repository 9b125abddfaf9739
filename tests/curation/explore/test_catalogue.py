"""The table of all utterances against the run's own tables."""

from __future__ import annotations

import shutil
import string
import threading
from collections import Counter
from pathlib import Path

import pytest

from gpa.curation.explore.catalogue import Catalogue
from gpa.curation.explore.vocabulary import vocabulary
from gpa.curation.report.outputs import open_run
from gpa.runtime.errors import UserError


@pytest.fixture(scope="module")
def catalogue(out: Path) -> Catalogue:
    return Catalogue(open_run(str(out)))


def consensus(catalogue: Catalogue) -> dict[str, dict]:
    tables = (catalogue.run.table("consensus", p) for p in catalogue.run.partitions)
    return {row["utterance_id"]: row for t in tables if t is not None for row in t.to_pylist()}


def test_every_utterance_is_there_once_with_what_consensus_says(catalogue):
    expected = consensus(catalogue)
    rows = catalogue.table("").to_pylist()
    assert sorted(row["utterance_id"] for row in rows) == sorted(expected)
    for row in rows:
        of_tables = expected[row["utterance_id"]]
        for name in ("kept", "reason", "pwer", "chosen_asr", "verifier_distance"):
            assert row[name] == of_tables[name]


def test_counts_are_those_of_the_rows(catalogue):
    rows = catalogue.table("pwer < 0.2").to_pylist()
    counts = catalogue.count("pwer < 0.2")
    assert counts.utterances == len(rows) > 0
    assert counts.seconds == pytest.approx(sum(row["duration_s"] for row in rows))
    kept = [row for row in rows if row["kept"]]
    assert counts.kept == len(kept) > 0
    assert counts.kept_seconds == pytest.approx(sum(row["duration_s"] for row in kept))


def test_pages_in_any_order_hold_each_utterance_once(catalogue):
    total = catalogue.count("").utterances
    pages = [catalogue.rows("", "pwer", True, offset, 7) for offset in range(0, total, 7)]
    rows = [row for page in pages for row in page]
    assert len({row["utterance_id"] for row in rows}) == len(rows) == total
    values = [row["pwer"] for row in rows if row["pwer"] is not None]
    assert values == sorted(values, reverse=True)


def test_conditions_ask_regular_expressions_and_one_recognisers_text(catalogue):
    first = catalogue.rows("", limit=1)[0]
    word = first["heard_alpha"].split()[0]
    found = catalogue.table(f"regexp_matches(heard_alpha, '^{word}\\b')").to_pylist()
    assert first["utterance_id"] in {row["utterance_id"] for row in found}


def test_neighbours_are_the_recordings_own_in_order_of_time(catalogue):
    rows = catalogue.table("").to_pylist()
    one = rows[len(rows) // 2]
    near = catalogue.neighbours(one["utterance_id"])
    assert one["utterance_id"] in {row["utterance_id"] for row in near}
    recording = one["utterance_id"].rpartition("-")[0]
    assert {row["utterance_id"].rpartition("-")[0] for row in near} == {recording}
    starts = [row["start_s"] for row in near]
    assert starts == sorted(starts)


@pytest.mark.parametrize(
    "where", ["nope = 1", "true; drop table utterances", "read_text('x') = ''"]
)
def test_what_is_no_condition_is_refused_and_harms_nothing(catalogue, where):
    before = catalogue.count("")
    with pytest.raises(UserError, match="is no condition"):
        catalogue.count(where)
    assert catalogue.count("") == before


def test_an_unknown_column_to_sort_by_is_named(catalogue):
    with pytest.raises(UserError, match="no column 'text; drop'"):
        catalogue.rows("", "text; drop")


def test_disputes_are_those_that_consensus_wrote_down_most_frequent_first(catalogue):
    expected: dict[tuple, set[str]] = {}
    for key, row in consensus(catalogue).items():
        for each in row["disputed"]:
            expected.setdefault(tuple(each.values()), set()).add(key)
    found = catalogue.disputes("", most=10**6)
    assert {tuple(row.values())[:4]: row["count"] for row in found} == {
        words: len(keys) for words, keys in expected.items()
    }
    for row in found:
        assert set(row["utterances"]) <= expected[tuple(row.values())[:4]]
    counts = [row["count"] for row in found]
    assert counts == sorted(counts, reverse=True)
    kept = {tuple(row.values())[:4]: row["count"] for row in catalogue.disputes("kept")}
    assert kept.keys() < expected.keys()
    with pytest.raises(UserError, match="is no condition"):
        catalogue.disputes("nope = 1")


def test_the_vocabulary_counts_words_and_finds_what_one_alone_writes(catalogue):
    def words_of(texts) -> Counter:
        return Counter(
            word.strip(string.punctuation).lower()
            for text in texts
            for word in (text or "").split()
        )

    table = catalogue.table("")
    texts = table["text"].to_pylist()
    found = vocabulary(catalogue, "")
    assert {row["word"]: row["times"] for row in found["words"]} == words_of(texts)
    characters = Counter("".join(texts).replace(" ", ""))
    assert {row["character"]: row["times"] for row in found["characters"]} == characters
    counts = [row["times"] for row in found["characters"]]
    assert counts == sorted(counts)
    heard = {asr: words_of(table[f"heard_{asr}"].to_pylist()) for asr in catalogue.asrs}
    alone = {
        (word, asr): times
        for asr, words in heard.items()
        for word, times in words.items()
        if times > 1 and not any(word in heard[other] for other in heard if other != asr)
    }
    assert {(row["word"], row["asr"]): row["times"] for row in found["alone"]} == alone
    assert vocabulary(catalogue, "false")["words"] == []


class TestReadingOn:
    def test_some_partitions_are_there_first_and_then_all_in_the_same_order(self, out, catalogue):
        growing = Catalogue(open_run(str(out)), at_first=1)
        assert 0 < growing.count("").utterances < catalogue.count("").utterances
        assert growing.progress["partitions"] == 1
        growing.follow(threading.Event())
        assert growing.table("") == catalogue.table("")
        growing.close()

    def test_what_a_run_adds_is_read_and_what_it_makes_anew_takes_its_place(self, out, tmp_path):
        own = Path(shutil.copytree(out, tmp_path / "out"))
        whole = open_run(str(own))
        last = whole.partitions[-1]
        tables = {name: Path(whole.path(name, last)) for name in ("alignment", "consensus")}
        for name, file in tables.items():
            file.rename(tmp_path / name)
        partial = Catalogue(open_run(str(own)))
        where = f"partition = '{last}'"
        before = partial.table(where)
        assert before["reason"].null_count == before["chosen_asr"].null_count == len(before) > 0
        for name, file in tables.items():
            (tmp_path / name).rename(file)
        partial.run = open_run(str(own))
        state = partial.state
        assert not partial.read_on()
        assert partial.state > state
        assert partial.table("") == Catalogue(whole).table("")
        assert not partial.read_on()
        assert partial.state == state + 1
