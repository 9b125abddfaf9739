"""A plan: what is drawn, what is reckoned from it, and how near it comes to a real run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import webdataset
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gpa.curation.ingest import corpus
from gpa.curation.ingest.corpus import RawFile
from gpa.curation.ingest.stage import IngestConfig
from gpa.curation.intervals import Estimate
from gpa.curation.pipeline import read_pipeline
from gpa.curation.prepare import plan
from gpa.curation.prepare.plan import (
    EXCERPT_S,
    Excerpt,
    Plan,
    Rate,
    StagePlan,
    draw,
    survey,
    write_sample,
)
from gpa.runtime.errors import UserError
from tests import in_process
from tests.faults import light

RATE = 8000


def noise(folder: Path, name: str, seconds: float) -> None:
    chance = np.random.default_rng(len(name))
    soundfile.write(folder / name, chance.normal(0, 0.1, round(seconds * RATE)), RATE)


def raw(name: str) -> RawFile:
    return RawFile(name, f"/nowhere/{name}", 1, "", True)


@given(st.lists(st.floats(0.1, 400), min_size=1, max_size=8), st.floats(1, 900))
def test_excerpts_are_different_stretches_of_as_much_audio_as_was_asked_for(lengths, wanted_s):
    probed = {raw(f"{place}.wav"): length for place, length in enumerate(lengths)}
    drawn = draw(probed, wanted_s)
    assert len({(each.file, each.start_s) for each in drawn}) == len(drawn)
    for each in drawn:
        assert 0 < each.seconds <= EXCERPT_S
        assert each.start_s + each.seconds <= probed[each.file] + 1e-9
    total_s = sum(each.seconds for each in drawn)
    assert min(wanted_s, sum(lengths)) - 1e-6 <= total_s < wanted_s + EXCERPT_S


def test_the_same_corpus_gives_the_same_excerpts():
    probed = {raw(f"{place}.wav"): 200.0 for place in range(9)}
    assert draw(probed, 300) == draw(probed, 300)
    assert len({each.file for each in draw(probed, 300)}) > 1


def test_a_survey_adds_up_headers_and_passes_over_what_is_no_audio(tmp_path: Path):
    for name, seconds in (("a.wav", 3.0), ("b.flac", 5.0)):
        noise(tmp_path, name, seconds)
    (tmp_path / "c.wav").write_text("no audio")
    probed, total_s = survey(corpus.find(str(tmp_path)), IngestConfig())
    assert {file.path: length for file, length in probed.items()} == {"a.wav": 3.0, "b.flac": 5.0}
    assert total_s == pytest.approx(8.0, rel=0.01)


def test_a_survey_counts_the_recordings_that_ingest_makes(tmp_path: Path):
    for name, seconds in (("a.wav", 5.0), ("b.wav", 7.0)):
        noise(tmp_path, name, seconds)
    (tmp_path / "copy of b.wav").write_bytes((tmp_path / "b.wav").read_bytes())
    channels = np.random.default_rng(0).normal(0, 0.1, (3 * RATE, 2))
    soundfile.write(tmp_path / "two.wav", channels, RATE)
    said = [
        {"path": "a.wav", "offset": 0, "duration": 2},
        {"path": "a.wav", "offset": 2, "duration": 3},
        *({"path": name} for name in ("b.wav", "copy of b.wav", "two.wav")),
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, said)))
    recordings, total_s = survey(
        corpus.find(str(tmp_path / "m.jsonl")), IngestConfig(channels="split")
    )
    assert sorted(recordings.values()) == [2.0, 3.0, 3.0, 3.0, 7.0]
    assert total_s == pytest.approx(18.0)


def test_a_plan_and_a_run_find_the_same_in_tars_and_parquet(tmp_path: Path):
    clips, packed = tmp_path / "clips", tmp_path / "packed"
    for folder in (clips, packed):
        folder.mkdir()
    light.write_corpus(clips, 3, seed=0)
    first, second, third = (path.read_bytes() for path in sorted(clips.iterdir()))
    with webdataset.TarWriter(str(packed / "shard.tar")) as tar:
        for name, clip in (("first", first), ("second", second)):
            tar.write({"__key__": name, "wav": clip, "json": {"language": "en"}})
    struct = pa.array([{"bytes": third, "path": "third.wav"}])
    pq.write_table(pa.table({"audio": struct}), packed / "train.parquet")
    settings = in_process.settings(tmp_path)
    found, planned_s = survey(corpus.find(str(packed)), settings.ingest)
    summary = in_process.curate(packed, tmp_path / "out", settings)
    assert len(found) == 3
    assert planned_s == pytest.approx(summary["seconds"]["in"])
    assert summary["seconds"]["kept"] > 0


def test_where_not_all_headers_are_read_bytes_stand_in_for_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plan, "MOST_PROBED", 4)
    for place in range(12):
        noise(tmp_path, f"{place}.wav", 2.0 + place)
    probed, total_s = survey(corpus.find(str(tmp_path)), IngestConfig())
    assert len(probed) == 4
    assert total_s == pytest.approx(sum(2.0 + place for place in range(12)), rel=0.01)


def test_a_sample_is_what_lies_at_its_place_in_the_recording(tmp_path: Path):
    ramp = np.linspace(-0.5, 0.5, 10 * RATE)
    soundfile.write(tmp_path / "ramp.wav", np.stack([ramp, -ramp], axis=1), RATE, subtype="FLOAT")
    (tmp_path / "broken.wav").write_text("no audio")
    files = {file.path: file for file in corpus.find(str(tmp_path))}
    wanted = [Excerpt(files["ramp.wav"], 2.0, 3.0), Excerpt(files["broken.wav"], 0.0, 1.0)]
    manifest = tmp_path / "sample" / "sample.jsonl"
    written, unreadable = write_sample(wanted, manifest, IngestConfig())
    ((name, seconds),) = written.items()
    assert seconds == 3.0
    part, rate = soundfile.read(manifest.parent / name)
    assert np.allclose(part[:, 0], ramp[2 * rate : 5 * rate], atol=1e-6)
    assert [each.split(":")[0] for each in unreadable] == ["broken.wav"]
    assert [file.path for file in corpus.find(str(manifest))] == [name]


def test_what_is_cached_is_not_paid_for_again():
    rate = Rate("normalized", "normalize", start_s=36.0, audio_s=1.0, left_s=0.9, worker_s=0.5,
                cpu_s=0.4, disk_bytes=1e6)  # fmt: skip
    stage = StagePlan.of(rate, hours=10.0, cached_hours=6.0, workers=2, gpus=0.5)
    assert (stage.audio_hours, stage.worker_hours, stage.gpu_hours) == (4.0, 2.0, 1.0)
    assert stage.cpu_hours == pytest.approx(1.6)
    assert stage.disk_gb == pytest.approx(14.4)
    assert stage.finish_hours == pytest.approx(0.01 + 1.0)
    done = StagePlan.of(rate, hours=10.0, cached_hours=10.0, workers=2, gpus=0.0)
    both = Plan(10.0, 60.0, Estimate(0.5, 0.4, 0.6, 3), (stage, done), ())
    assert both.total("finish_hours") == stage.finish_hours
    assert both.total("disk_gb") == stage.disk_gb


def test_a_corpus_without_audio_is_a_sentence(tmp_path: Path):
    (tmp_path / "a.wav").write_text("no audio")
    config = read_pipeline(Path("pipelines.yaml"), "laptop")
    with pytest.raises(UserError, match="holds no audio that can be read"):
        plan.plan(str(tmp_path), str(tmp_path / "out"), "laptop", config, 1, Console(quiet=True))
