"""Pruning: audio between the steps goes, all that is told of a run stays, and it can come back."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpa.curation.ingest.corpus import find
from gpa.curation.pipeline import PipelineConfig
from gpa.curation.prepare import plan
from gpa.curation.prepare.done import done_s
from gpa.curation.report.audit import audit, figures
from gpa.curation.report.clips import LONGEST_TOTAL_S
from gpa.curation.report.listen import Sample, read_samples
from gpa.curation.report.outputs import open_run
from gpa.curation.run import verify
from gpa.curation.waves import AUDIO, prune_all
from gpa.runtime.execution import StageWorker
from gpa.runtime.storage import Store
from tests.faults import light
from tests.in_process import QUIET, curate, light_runs, settings
from tests.runs import products

WAVES = 10


@pytest.fixture
def pruned(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "out")
    assert prune_all(str(tmp_path / "out")) == len(audio(whole)) > 0
    return tmp_path / "out"


def audio(out: Path) -> set[str]:
    """Tars that lie between the steps."""
    return {str(file.relative_to(out)) for name in AUDIO for file in (out / name).rglob("*.tar")}


def samples(out: Path) -> list[Sample]:
    run = open_run(str(out))
    return read_samples(run, audit(run, 20).sampler.chosen(LONGEST_TOTAL_S))


def worked(corpus: Path, out: Path, config) -> list[str]:
    """What a run makes: the partition of each item of a stage."""
    found: list[str] = []

    def watch(worker: type, item: dict[str, Any]) -> None:
        if worker is StageWorker:
            found.append(item["partition"])

    curate(corpus, out, config, watch)
    return found


def test_all_that_is_told_of_a_run_stays(talks: Path, whole: Path, pruned: Path, tmp_path: Path):
    assert audio(pruned) == set()
    assert verify(str(pruned)) == []
    before, after = (audit(open_run(str(out)), 0) for out in (whole, pruned))
    assert figures(after, False) == figures(before, False)
    # What is kept is heard out of the shards.
    heard = {sample.utterance_id: sample.audio for sample in samples(whole) if sample.kept}
    assert heard
    assert {s.utterance_id: s.audio for s in samples(pruned) if s.kept} == heard
    assert worked(talks, pruned, settings(tmp_path)) == []
    assert audio(pruned) == set()


def test_another_threshold_makes_what_it_hears_again_and_no_hypothesis(
    talks: Path, whole: Path, pruned: Path, tmp_path: Path
):
    config = settings(tmp_path, max_pwer=0.5)
    with light_runs(pruned):
        done, again = done_s(Store(str(pruned)), find(str(talks)), config)
    assert list(again) == ["normalized", "utterances"]
    assert min(again.values()) > 0 == done["normalized"] == done["consensus"]
    assert done["hypotheses/whisper-base"] == done["quality"] > 0
    # Three partitions each: of normalized, utterances, consensus, alignment, packaged.
    assert len(worked(talks, pruned, config)) == 3 * 5
    assert audio(pruned) == audio(whole)
    fresh = tmp_path / "fresh" / "out"
    curate(talks, fresh, config)
    assert products(pruned) == products(fresh)
    assert verify(str(pruned)) == []


def test_a_damaged_shard_is_written_again_of_audio_that_is_made_again(
    talks: Path, whole: Path, pruned: Path, tmp_path: Path
):
    (pruned / "curated" / "shard-000000.tar").write_bytes(b"damaged")
    assert len(verify(str(pruned), repair=True)) == 1
    curate(talks, pruned, settings(tmp_path, keep="tables"))
    assert products(pruned) == products(whole)
    assert audio(pruned) == set()


def disk(out: Path) -> dict[str, int]:
    """Bytes of what is handed over, and of all else."""
    found = {"curated": 0, "between": 0}
    for file in out.rglob("*"):
        if file.is_file():
            place = "curated" if "curated" in file.parts else "between"
            found[place] += file.stat().st_size
    return found


def highest_disk(corpus: Path, out: Path, config: PipelineConfig) -> dict[str, int]:
    """What `disk` says when there is most, over a run."""
    seen: list[dict[str, int]] = []
    curate(corpus, out, config, lambda *_: seen.append(disk(out)))
    return max(seen, key=lambda each: sum(each.values()))


def test_the_disk_at_its_highest_is_what_the_plan_said_and_a_tenth_of_it_in_ten_waves(
    tmp_path: Path,
):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    light.write_corpus(corpus, 3 * WAVES, seed=0)
    config = settings(tmp_path, partition_minutes=0.5, keep="tables")
    with light_runs(tmp_path / "out"):
        planned = plan.plan(str(corpus), str(tmp_path / "out"), "light", config, 1.5, QUIET)
    highest = []
    for hours in (1.0, 0.5 / 60):
        out = tmp_path / f"waves of {hours:g} h" / "out"
        out.parent.mkdir()
        config = settings(out.parent, partition_minutes=0.5, keep="tables", wave_hours=hours)
        highest.append(highest_disk(corpus, out, config))
        most_gb = sum(highest[-1].values()) / 1e9
        assert replace(planned, wave_hours=hours).peak_gb == pytest.approx(most_gb, rel=0.25)
    one, ten = highest
    assert ten["between"] / one["between"] <= 0.2
