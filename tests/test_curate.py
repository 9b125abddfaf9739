"""`gpa curate`, whole and real: a corpus with everything that goes wrong, and what comes out."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import webdataset

from gpa.curation.ingest import sample
from gpa.curation.ingest.corpus import find
from gpa.curation.pipeline import read_pipeline
from gpa.curation.prepare import plan
from gpa.curation.prepare.done import done_s
from gpa.runtime.errors import UserError
from gpa.runtime.lock import only_run
from gpa.runtime.storage import Store
from tests.runs import gpa, pipelines, products, ran, start, summary

pytestmark = pytest.mark.slow

KEY_JSON = {
    "confidence", "duration_s", "end_s", "hypotheses", "kept_version", "language",
    "models", "mos", "pwer", "recording_id", "sample_rate", "schema_version", "source", "speaker",
    "start_s", "text", "text_before_punctuation", "utterance_id", "words",
}  # fmt: skip
# Every bad file, and the reason that `rejected.parquet` must give for it.
BAD_FILES = {
    "bad/empty.wav": "unreadable",
    "bad/text.wav": "unreadable",
    "bad/gone.wav": "unreadable",
    "bad/no_samples.wav": "too_short",
    "bad/silence.wav": "silent",
    "interview/endgame.wav": "duplicate",
    "phone/broken.mp3": "unreadable",
}

UNUSABLE = {
    "zero_bytes.wav": "unreadable",
    "zero_bytes.mp3": "unreadable",
    "text_named.wav": "unreadable",
    "header_only.wav": "too_short",
    "one_sample.wav": "too_short",
    "short_50ms.wav": "too_short",
    "silence_5s.wav": "silent",
}


def write_bad_files(folder: Path) -> None:
    """Files that no run may stumble over."""
    bad = folder / "bad"
    bad.mkdir()
    (bad / "empty.wav").touch()
    (bad / "text.wav").write_text("plain text under a name that says audio")
    (bad / "gone.wav").symlink_to(bad / "nowhere.wav")
    (bad / "loop").symlink_to(folder)
    soundfile.write(bad / "no_samples.wav", np.zeros(0), 16000)
    soundfile.write(bad / "silence.wav", np.zeros(32000), 16000)
    speech, rate = soundfile.read(folder / "phone" / "line 1.wav", dtype="float32")
    six = np.stack([speech[: 3 * rate]] * 6, axis=1)
    soundfile.write(bad / "six 'channels' \"24 bit\".wav", six, rate, subtype="PCM_24")
    soundfile.write(bad / "96 kHz\nclipped.flac", np.clip(40 * speech[: 3 * rate], -1, 1), 96000)
    holes = speech[: 4 * rate].copy()
    holes[1000:1010] = np.nan
    holes[2000] = np.inf
    soundfile.write(bad / "空 ñ nan.wav", holes, rate, subtype="FLOAT")
    whole = (folder / "readings" / "two cities.mp3").read_bytes()
    (bad / "truncated.mp3").write_bytes(whole[: len(whole) // 4])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = sample.write(tmp_path_factory.mktemp("corpus"))
    write_bad_files(folder)
    return folder


@pytest.fixture(scope="module")
def out(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "out"
    printed = gpa("curate", "--corpus", corpus, "--out", folder)
    assert "The books balance" in printed
    return folder


def rejected(out: Path) -> list[dict]:
    return pq.read_table(out / "rejected.parquet").to_pylist()


def test_the_auditor_finds_nothing(out: Path):
    assert "the books balance" in gpa("verify", out)


def test_every_bad_file_has_its_reason_and_the_others_went_through(out: Path):
    reasons = {
        row["path"]: row["reason"] for row in rejected(out) if row["utterance_id"] is None
        and row["start_s"] is None
    }  # fmt: skip
    assert reasons == BAD_FILES
    (copy,) = (row for row in rejected(out) if row["reason"] == "duplicate")
    assert copy["duplicate_of"] == "interview/endgame (copy).wav"


def test_seconds_add_up(out: Path):
    seconds = summary(out)["seconds"]
    spent = seconds["kept"] + sum(seconds["dropped"].values())
    spent += seconds["non_speech"] + seconds["quarantined"]
    assert seconds["in"] == pytest.approx(spent, abs=0.02)
    assert seconds["kept"] > 30


def test_shards_load_in_webdataset(out: Path):
    shards = sorted(str(path) for path in (out / "curated").glob("*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert len(samples) == summary(out)["utterances"]["kept"]
    for item in samples:
        metadata = json.loads(item["json"])
        assert metadata.keys() >= KEY_JSON
        assert metadata["utterance_id"] == item["__key__"]
        assert metadata["pwer"] is None or metadata["pwer"] < 0.15
        waveform, rate = soundfile.read(io.BytesIO(item["flac"]))
        assert rate == metadata["sample_rate"]
        assert len(waveform) / rate == pytest.approx(metadata["duration_s"], abs=1 / rate)
        assert np.abs(waveform).max() == pytest.approx(0.6, abs=1e-3)


def test_shards_load_in_datasets(out: Path):
    shards = sorted(str(path) for path in (out / "curated").glob("*.tar"))
    arguments = {"data_files": {"train": shards}, "split": "train", "streaming": True}
    features = datasets.load_dataset("webdataset", **arguments).features
    assert isinstance(features["flac"], datasets.Audio)
    assert features["json"].keys() >= KEY_JSON
    # To decode is torchcodec's part, whose wheel wants CUDA: here the bytes are taken as they are.
    features["flac"] = datasets.Value("binary")
    items = list(datasets.load_dataset("webdataset", **arguments, features=features))
    assert len(items) == summary(out)["utterances"]["kept"]
    for item in items:
        waveform, rate = soundfile.read(io.BytesIO(item["flac"]))
        assert item["json"]["utterance_id"] == item["__key__"]
        assert len(waveform) / rate == pytest.approx(item["json"]["duration_s"], abs=1 / rate)


def test_a_second_run_does_no_work(corpus: Path, out: Path):
    before = products(out)
    gpa("curate", "--corpus", corpus, "--out", out)
    assert ran(out) == set()
    assert products(out) == before


def test_another_threshold_reruns_consensus_and_what_follows(
    corpus: Path, out: Path, tmp_path: Path
):
    def stricter(laptop: dict) -> None:
        laptop["consensus"]["max_pwer"] = 0.01

    kept = summary(out)["utterances"]["kept"]
    gpa("curate", "--corpus", corpus, "--out", out, "--config", pipelines(tmp_path, stricter))
    assert ran(out) == {"consensus", "alignment", "packaged"}
    assert summary(out)["utterances"]["kept"] < kept
    assert "the books balance" in gpa("verify", out)
    gpa("curate", "--corpus", corpus, "--out", out)
    assert ran(out) == set()
    assert summary(out)["utterances"]["kept"] == kept
    assert "the books balance" in gpa("verify", out)


def test_another_recogniser_runs_alone(corpus: Path, out: Path, tmp_path: Path):
    def larger_panel(laptop: dict) -> None:
        tiny = laptop["transcribe"]["asr"]["whisper-tiny-en"]
        laptop["transcribe"]["asr"]["whisper-tiny-beam"] = {**tiny, "beam_size": 2}
        laptop["consensus"]["panels"]["en"]["voters"].append("whisper-tiny-beam")

    gpa("curate", "--corpus", corpus, "--out", out, "--config", pipelines(tmp_path, larger_panel))
    assert ran(out) == {"hypotheses/whisper-tiny-beam", "consensus", "alignment", "packaged"}


def test_damage_is_found_and_named(out: Path):
    shard = next((out / "curated").glob("*.tar"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:3000] + b"X" + whole[3001:])
    assert "has other bytes than were written" in gpa("verify", out, status=1)
    shard.write_bytes(whole)
    assert "the books balance" in gpa("verify", out)


@pytest.fixture(scope="module")
def small_corpus(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    for name in ("phone/line 1.wav", "readings/beckett_in_noise.flac"):
        (folder / Path(name).name).write_bytes((corpus / name).read_bytes())
    return folder


def greedy(laptop: dict) -> None:
    """Whispers without a beam: what becomes of files does not hang on it, and it takes longer."""
    for asr in ("whisper-base", "whisper-tiny-en", "whisper-base-fast"):
        laptop["transcribe"]["asr"][asr]["beam_size"] = 1


def workers(count: int):
    def change(laptop: dict) -> None:
        greedy(laptop)
        laptop["ingest"]["partition_minutes"] = 0.1
        laptop["resources"]["default"] = {"workers": count}

    return change


@pytest.fixture(scope="module")
def undisturbed(small_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    config = pipelines(folder, workers(2))
    # An OUT may be any URL that fsspec knows.
    gpa("curate", "--corpus", small_corpus, "--out", f"file://{folder}/out", "--config", config)
    kept = products(folder / "out")
    assert any(name.endswith(".tar") for name in kept)
    return kept


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes_on_one_worker_as_on_two(
    small_corpus: Path, undisturbed: dict[str, bytes], tmp_path: Path
):
    out, config = tmp_path / "out", pipelines(tmp_path, workers(1))
    arguments = ("curate", "--corpus", small_corpus, "--out", out, "--config", config)
    first = start(*arguments)
    assert first.stdout is not None
    for line in first.stdout:
        if line.strip().startswith("utterances"):
            # In the middle of the work: a second run is refused, and this one is killed.
            refused = gpa(*arguments, status=2)
            assert "Another run is at work" in refused
            os.kill(first.pid, signal.SIGKILL)
            break
    first.wait()
    _until_released(out)
    gpa(*arguments)
    stages = summary(out)["stages"]
    assert stages["normalized"]["cached"] == stages["normalized"]["partitions"]
    assert stages["packaged"]["cached"] == 0
    assert products(out) == undisturbed


def _until_released(out: Path, patience_s: float = 60.0) -> None:
    """Wait for the kernel to drop the killed run's lock."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            with only_run(Store(str(out))):
                return
        except UserError:
            assert time.monotonic() < deadline, "the killed run still holds its lock"


@pytest.fixture(scope="module")
def real_run(shared_speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a mix of English and Mandarin readers, and on every damaged or unusual file."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "corpus").mkdir()
    (folder / "corpus" / "edge").symlink_to(shared_speech / "edge")
    mix = shared_speech / "raw" / "raw_dev_3.flac"
    (folder / "corpus" / mix.name).symlink_to(mix)
    config = pipelines(folder, greedy)
    gpa("curate", "--corpus", folder / "corpus", "--out", folder / "out", "--config", config)
    return folder / "out"


def test_real_recordings_in_english_and_mandarin_go_through(real_run: Path):
    assert "the books balance" in gpa("verify", real_run)
    heard = [
        row
        for table in (real_run / "hypotheses" / "whisper-base").rglob("part-*.parquet")
        for row in pq.read_table(table).to_pylist()
    ]
    assert {row["language"] for row in heard} >= {"en", "zh"}
    kept = pq.read_table(real_run / "curated" / "manifest.parquet").to_pylist()
    assert "raw_dev_3.flac" in {row["source"] for row in kept}
    assert sum(row["duration_s"] for row in kept) > 20


def test_a_plan_counts_what_its_run_finds_and_pays_for_nothing_twice(real_run: Path):
    """How near its times come to a real run is measured by `gpa bench plan`."""
    config = read_pipeline(real_run.parent / "pipelines.yaml", "laptop")
    files = find(str(real_run.parent / "corpus"))
    _, planned_s = plan.survey(files, config.ingest)
    seconds = summary(real_run)["seconds"]
    # What damaged files promise and do not hold is in the books, and costs nothing.
    held_s = seconds["in"] - seconds["dropped"]["damaged"]
    assert planned_s == pytest.approx(held_s, rel=0.001)
    done, again = done_s(Store(str(real_run)), files, config)
    assert min(done.values()) == pytest.approx(planned_s, rel=0.001)
    assert not again


def test_every_damaged_or_unusual_file_is_accounted_for(real_run: Path):
    reasons = {row["path"]: row["reason"] for row in rejected(real_run) if row["start_s"] is None}
    assert {name: reasons.get(f"edge/{name}") for name in UNUSABLE} == UNUSABLE
    sources = {
        row["source"] for row in pq.read_table(real_run / "curated/manifest.parquet").to_pylist()
    }
    assert not sources & {"edge/silence_5s.wav", "edge/dither_only_8s.flac", "edge/reversed.flac"}
    assert "edge/tel_8k_pcm16.wav" in sources | {row["path"] for row in rejected(real_run)}
