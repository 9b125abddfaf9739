"""Waves: the same utterances in shards of their own, early, whatever ends a run between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from gpa.curation.report.audit import audit, figures
from gpa.curation.report.outputs import open_run
from gpa.curation.run import verify
from gpa.curation.shards import ShardWriter
from gpa.runtime.execution import StageWorker
from tests.faults import light
from tests.in_process import curate, settings
from tests.runs import products

WAVES = 3
# Of audio; a partition has 15 s and more.
ONE_PARTITION_H = 10 / 3600


class Killed(BaseException):
    """Ends a run at once."""


@pytest.fixture(scope="module")
def waves(talks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("waves")
    curate(talks, folder / "out", settings(folder, wave_hours=ONE_PARTITION_H))
    return folder / "out"


def kept(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "curated" / "manifest.parquet").drop_columns("shard").to_pylist()


def tars(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((out / "curated").glob("*.tar"))}


def test_waves_keep_what_one_wave_keeps_in_shards_of_their_own(whole: Path, waves: Path):
    assert kept(waves) == kept(whole)
    assert (len(tars(whole)), len(tars(waves))) == (1, WAVES)
    assert verify(str(waves)) == []


def test_the_first_shard_is_there_before_other_waves_begin(talks: Path, tmp_path: Path):
    done: list[int] = []

    def watch(worker: type, item: dict[str, Any]) -> None:
        if worker is StageWorker and not item["partition"].startswith("files-"):
            done.append(0)
        if worker is ShardWriter:
            done[-1] += 1

    config = settings(tmp_path, wave_hours=ONE_PARTITION_H)
    curate(talks, tmp_path / "out", config, watch)
    assert done.index(1) + 1 == len(done) / WAVES


@pytest.mark.parametrize("at", [(StageWorker, "first of a wave"), (ShardWriter, "first shard")])
def test_a_run_that_was_killed_between_waves_ends_with_the_same_bytes(
    at: tuple[type, str], talks: Path, waves: Path, tmp_path: Path
):
    config, out = settings(tmp_path, wave_hours=ONE_PARTITION_H), tmp_path / "out"
    shards = 0

    def kill(worker: type, _: dict[str, Any]) -> None:
        nonlocal shards
        shards += worker is ShardWriter
        if worker is at[0] and shards == 1:
            raise Killed

    with pytest.raises(Killed):
        curate(talks, out, config, kill)
    assert len(tars(out)) == 1
    # The report of what is done so far.
    run = open_run(str(out))
    found = figures(audit(run, 0), run.partial)
    assert found["reconciles"]
    assert found["funnel"]["kept_utterances"] >= len(kept(out)) > 0

    worked: list[type] = []
    curate(talks, out, config, lambda worker, _: worked.append(worker))
    assert products(out) == products(waves)
    assert worked.count(ShardWriter) == WAVES - 1


def test_a_second_run_does_nothing(talks: Path, waves: Path, tmp_path: Path):
    before = products(waves)
    worked: list[type] = []
    config = settings(tmp_path, wave_hours=ONE_PARTITION_H)
    curate(talks, waves, config, lambda worker, _: worked.append(worker))
    assert not {StageWorker, ShardWriter} & set(worked)
    assert products(waves) == before


def test_a_corpus_that_grew_keeps_its_shards_byte_for_byte(tmp_path: Path):
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    later = tmp_path / "later"
    for folder in (corpus, later):
        folder.mkdir()
    light.write_corpus(corpus, 4, seed=0)
    light.write_corpus(later, 2, seed=1)
    curate(corpus, out, settings(tmp_path))
    before, kept_before = tars(out), kept(out)
    for number, file in enumerate(later.iterdir()):
        file.rename(corpus / f"a talk before {number}.wav")
    curate(corpus, out, settings(tmp_path))
    grown = tars(out)
    assert grown.items() > before.items()
    assert kept(out)[: len(kept_before)] == kept_before
    assert verify(str(out)) == []
