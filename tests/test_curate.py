"""`gpa curate`, whole and real: a corpus with everything that goes wrong, and what comes out."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import webdataset

from gpa.curation import run
from gpa.curation.ingest import sample
from gpa.curation.ingest.corpus import find
from gpa.curation.prepare import plan
from gpa.curation.prepare.done import done_s
from gpa.runtime.storage import Store
from tests import in_process
from tests.conftest import SHARED
from tests.faults.disturbed import kill
from tests.runs import gpa, pipelines, start, summary

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


# Of `shared/speech/edge`: a recording that should be kept or dropped by what is heard in it.
SOUND = ("dither_only_8s.flac", "reversed.flac", "tel_8k_pcm16.wav")
# Of a mix of readers, by the truth beside it: the end of a Mandarin one, and an English one.
MIX_S = ((50.0, 57.3), (68.0, 76.3))


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
    (bad / "truncated.mp3").write_bytes(whole[: len(whole) // 8])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Most of the sample corpus, files that are bad, and real recordings where we have them."""
    folder = sample.write(tmp_path_factory.mktemp("corpus"))
    write_bad_files(folder)
    for name in ("readings/two cities.mp3", "interview/crosstalk.ogg"):
        (folder / name).unlink()
    dialogue, rate = soundfile.read(folder / "interview" / "endgame.wav")
    for name in ("endgame.wav", "endgame (copy).wav"):
        soundfile.write(folder / "interview" / name, dialogue[: 12 * rate], rate)
    if (SHARED / "speech").is_dir():
        for name in SOUND:
            (folder / name).symlink_to(SHARED / "speech" / "edge" / name)
        mix, rate = soundfile.read(SHARED / "speech" / "raw" / "raw_dev_3.flac")
        cuts = [mix[round(start * rate) : round(end * rate)] for start, end in MIX_S]
        soundfile.write(folder / "mix.flac", np.concatenate(cuts), rate)
    return folder


def lighter(laptop: dict[str, Any]) -> None:
    """Whispers without a beam, and models loaded once; a recording has its partition for itself.

    CI runs the pipeline as it is on the sample corpus.
    """
    for asr in ("whisper-base", "whisper-tiny-en", "whisper-base-fast"):
        laptop["transcribe"]["asr"][asr]["beam_size"] = 1
    laptop["ingest"]["partition_minutes"] = 0.001
    laptop["resources"]["default"] = {"workers": 1}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines(tmp_path_factory.mktemp("config"), lighter)


@pytest.fixture(scope="module")
def out(corpus: Path, config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "out"
    # An OUT may be any URL that fsspec knows.
    printed = gpa("curate", "--corpus", corpus, "--out", f"file://{folder}", "--config", config)
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
    assert seconds["kept"] > 20


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


def test_damage_is_found_and_named(out: Path):
    shard = next((out / "curated").glob("*.tar"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:3000] + b"X" + whole[3001:])
    (problem,) = run.verify(str(out))
    assert "has other bytes than were written" in problem
    shard.write_bytes(whole)
    assert run.verify(str(out)) == []


def test_a_killed_run_goes_on_and_one_recording_alone_has_the_same_bytes(
    corpus: Path, out: Path, config: Path, tmp_path: Path
):
    line = Path("phone") / "line 1.wav"
    (tmp_path / "corpus" / line).parent.mkdir(parents=True)
    shutil.copyfile(corpus / line, tmp_path / "corpus" / line)
    alone = tmp_path / "out"
    arguments = ("curate", "--corpus", tmp_path / "corpus", "--out", alone, "--config", config)
    first = start(*arguments)
    assert first.stdout is not None
    # In the middle of the work: a second run is refused, and this one is killed.
    assert any(text.strip().startswith("utterances") for text in first.stdout)
    assert "Another run is at work" in gpa(*arguments, status=2)
    kill(first, alone)
    gpa(*arguments)
    stages = summary(alone)["stages"]
    assert stages["normalized"]["cached"] == stages["normalized"]["partitions"] == 1
    assert stages["packaged"]["cached"] == 0
    for stage in stages.keys() - {"probed"}:
        made = [file for file in (alone / stage).rglob("*") if file.is_file()]
        assert made
        for file in made:
            assert file.read_bytes() == (out / file.relative_to(alone)).read_bytes(), file


def test_real_recordings_in_english_and_mandarin_go_through(shared_speech: Path, out: Path):
    files = pq.read_table(out / "corpus.parquet").to_pylist()
    (mix,) = (file["recording_id"] for file in files if file["path"] == "mix.flac")
    heard = [
        row["language"]
        for table in (out / "hypotheses" / "whisper-base").rglob("part-*.parquet")
        for row in pq.read_table(table).to_pylist()
        if row["utterance_id"].startswith(mix)
    ]
    assert set(heard) == {"en", "zh"}
    kept = {row["source"] for row in pq.read_table(out / "curated/manifest.parquet").to_pylist()}
    assert "mix.flac" in kept
    assert not kept & {"dither_only_8s.flac", "reversed.flac"}
    assert "tel_8k_pcm16.wav" in kept | {row["path"] for row in rejected(out)}


def test_every_damaged_or_unusual_file_is_accounted_for(shared_speech: Path, tmp_path: Path):
    """And a plan counts what its run finds, and pays for nothing twice."""
    edge, out = shared_speech / "edge", tmp_path / "out"
    config = in_process.settings(tmp_path)
    in_process.curate(edge, out, config)
    assert run.verify(str(out)) == []
    reasons = {row["path"]: row["reason"] for row in rejected(out) if row["start_s"] is None}
    assert {name: reasons.get(name) for name in UNUSABLE} == UNUSABLE

    files = find(str(edge))
    _, planned_s = plan.survey(files, config.ingest)
    seconds = summary(out)["seconds"]
    # What damaged files promise and do not hold is in the books, and costs nothing.
    held_s = seconds["in"] - seconds["dropped"]["damaged"]
    assert planned_s == pytest.approx(held_s, rel=0.001)
    with in_process.light_runs(out):
        done, again = done_s(Store(str(out)), files, config)
    assert min(done.values()) == pytest.approx(planned_s, rel=0.001)
    assert not again
