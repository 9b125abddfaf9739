"""Names hold what decides: what changes runs again what depends on it, and nothing else."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from gpa.curation.ingest.stage import named
from gpa.curation.pipeline import build_stages, package_stage, read_pipeline
from gpa.curation.run import verify
from gpa.curation.tables import LAYERS, RECORDINGS, SOUND, known
from gpa.runtime.naming import name_under
from gpa.runtime.recipe import fingerprints
from gpa.runtime.stage import Stage
from tests.faults import light
from tests.in_process import curate, settings
from tests.runs import ROOT, pipelines, products, ran, summary
from tests.tables import table

SPEECH = {"normalized", "denoised", "utterances", "quality"}
WORDS = {
    *(
        f"hypotheses/{asr}"
        for asr in ("whisper-base", "whisper-tiny-en", "ctc-en", "whisper-base-fast")
    ),
    "consensus",
    "alignment",
}
# What runs again for a partition in which one row has another value in that column.
RUNS_AGAIN = {
    **dict.fromkeys(LAYERS["sound"], SPEECH | WORDS | {"packaged"}),
    "language": WORDS | {"packaged"},
    "text": {"consensus", "alignment", "packaged"},
    "path": {"packaged"},
    "given": {"packaged"},
    # The bytes are those of `sha256`, wherever they lie and whatever else their header says.
    **{column: set() for column in LAYERS["place"]},
}
OTHER = {"string": "other", "double": 9.5, "int64": 9, "int32": 9}


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    config = read_pipeline(ROOT / "pipelines.yaml", "laptop")
    made = build_stages(config)
    return [*made, package_stage(config, made)]


def names(stages: list[Stage], recordings: list[dict[str, Any]]) -> dict[str, str]:
    """The artifact of every stage for the partition of these recordings."""
    found = fingerprints(stages, {"recordings": "1"})
    return {
        name: f"{name}/{fingerprint}/{name_under(fingerprint, named(recordings))}"
        for name, fingerprint in found.items()
    }


def test_a_column_of_one_row_runs_again_exactly_what_depends_on_it(stages: list[Stage]):
    rows = [{"recording_id": "a", "path": "a.wav"}, {"recording_id": "b", "path": "b.wav"}]
    before = table(RECORDINGS, *rows).to_pylist()
    was = names(stages, before)
    assert set(was) == {"recordings", *SPEECH, *WORDS, "packaged"}
    for field in RECORDINGS:
        after = [before[0], before[1] | {field.name: OTHER[str(field.type)]}]
        now = names(stages, after)
        changed = {name for name, artifact in now.items() if artifact != was[name]}
        assert changed == {"recordings", *RUNS_AGAIN[field.name]}, field.name


def test_every_column_that_ingest_hands_on_is_in_one_layer():
    columns = [column for layer in LAYERS.values() for column in layer]
    assert sorted(columns) == sorted(RECORDINGS.names)


def test_a_stage_is_handed_no_column_that_its_names_do_not_hold():
    (row,) = known(table(RECORDINGS, {}), SOUND)
    assert row.keys() == {*LAYERS["sound"], "uri"}


def test_other_weights_run_again_what_hears_with_them_and_what_follows(
    stages: list[Stage], tmp_path: Path
):
    config = read_pipeline(ROOT / "pipelines.yaml", "laptop")
    tiny = next(stage for stage in stages if stage.name == "hypotheses/whisper-tiny-en")
    (weights,) = tiny.models()["whisper-tiny-en"].weights
    folder = tmp_path / "weights"
    folder.mkdir()
    for file in Path(weights.path).iterdir():
        (folder / file.name).symlink_to(file)

    def now() -> dict[str, str]:
        section = config.transcribe.asr["whisper-tiny-en"]
        local = section.model_copy(update={"weights": str(folder)})
        asr = config.transcribe.asr | {"whisper-tiny-en": local}
        transcribe = config.transcribe.model_copy(update={"asr": asr})
        changed = config.model_copy(update={"transcribe": transcribe})
        made = build_stages(changed)
        return fingerprints([*made, package_stage(changed, made)], {"recordings": "1"})

    before = now()
    vocabulary = next(file for file in folder.iterdir() if file.name.startswith("vocabulary"))
    content = vocabulary.read_bytes()
    other = vocabulary.with_name("other")
    other.write_bytes(content + b"\n")
    other.rename(vocabulary)
    from gpa.curation.models.weights import sha256_of

    sha256_of.cache_clear()  # a run is a process, and reads each file once
    after = now()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"hypotheses/whisper-tiny-en", "consensus", "alignment", "packaged"}


def key_jsons(out: Path) -> list[dict[str, Any]]:
    shards = [data for name, data in products(out).items() if name.endswith(".tar")]
    return [
        json.loads(tar.extractfile(member).read())
        for shard in shards
        for tar in [tarfile.open(fileobj=io.BytesIO(shard))]
        for member in tar
        if member.name.endswith(".json")
    ]


def test_another_threshold_or_recogniser_runs_again_what_hangs_on_it(
    talks: Path, whole: Path, tmp_path: Path
):
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    kept = summary(out)["utterances"]["kept"]
    curate(talks, out, settings(tmp_path, max_pwer=0.0))
    assert ran(out) == {"consensus", "alignment", "packaged"}
    assert summary(out)["utterances"]["kept"] == 0 < kept
    assert verify(str(out)) == []
    curate(talks, out, settings(tmp_path))
    assert ran(out) == set()
    assert products(out) == products(whole)
    assert verify(str(out)) == []

    def larger_panel(laptop: dict[str, Any]) -> None:
        light.settings(laptop)
        laptop["ingest"]["partition_minutes"] = 0.25
        tiny = laptop["transcribe"]["asr"]["whisper-tiny-en"]
        laptop["transcribe"]["asr"]["whisper-tiny-beam"] = {**tiny, "beam_size": 2}
        laptop["consensus"]["panels"]["en"]["voters"].append("whisper-tiny-beam")

    curate(talks, out, read_pipeline(pipelines(tmp_path, larger_panel), "laptop"))
    assert ran(out) == {"hypotheses/whisper-tiny-beam", "consensus", "alignment", "packaged"}


def test_a_corrected_manifest_a_renamed_file_and_a_file_that_is_readable_again(tmp_path: Path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    light.write_corpus(corpus, 3, seed=0)
    out = tmp_path / "out"

    def anywhere(laptop: dict[str, Any]) -> None:
        light.settings(laptop)
        laptop["ingest"]["allow_outside"] = True

    config = read_pipeline(pipelines(tmp_path, anywhere), "laptop")
    manifest = corpus / "manifest.jsonl"

    def say(names: list[str], **said: Any) -> None:
        manifest.write_text("\n".join(json.dumps({"path": name, **said}) for name in names))

    # A file that opens and can't be read, whoever asks: an error of I/O, of a real file system.
    (corpus / "talk 2.wav").rename(tmp_path / "talk 2.wav")
    (corpus / "talk 2.wav").symlink_to("/proc/self/mem")

    say([f"talk {number}.wav" for number in range(3)], language="sv", offset=0.5, duration=9.0)
    printed = io.StringIO()
    curate(manifest, out, config, console=Console(file=printed))
    assert "Not read in this run" in printed.getvalue()
    assert "talk 2.wav" in printed.getvalue()
    assert summary(out)["recordings"] == {"nothing_kept": 2, "not_read": 1}
    assert summary(out)["balanced"]
    files = pq.read_table(out / "corpus.parquet").to_pylist()
    assert [row["state"] for row in files] == ["recording", "recording", "not_read"]

    # The right language and another name: what hears, decides and writes down runs again, and what
    # decodes and cuts does not.
    (corpus / "talk 0.wav").rename(corpus / "first.wav")
    say(["first.wav", "talk 1.wav"], language="en", offset=0.5, duration=9.0, speaker="ann")
    curate(manifest, out, config)
    asrs = {"hypotheses/whisper-base", "hypotheses/whisper-tiny-en"}
    # Another listing is probed; what that finds is what decides on all that follows.
    assert ran(out) - {"probed"} == {*asrs, "consensus", "alignment", "packaged"}
    kept = key_jsons(out)
    assert {key["source"] for key in kept} == {"first.wav", "talk 1.wav"}
    assert {key["given"]["speaker"] for key in kept} == {"ann"}
    assert {key["speaker"] for key in kept} == {"ann"}
    assert all(key["start_s"] >= 0.5 and key["end_s"] <= 9.5 for key in kept)

    # The third file can be read again.
    (corpus / "talk 2.wav").unlink()
    (tmp_path / "talk 2.wav").rename(corpus / "talk 2.wav")
    say(["first.wav", "talk 1.wav", "talk 2.wav"], language="en", offset=0.5, duration=9.0)
    curate(manifest, out, config)
    assert {key["source"] for key in key_jsons(out)} >= {"talk 2.wav"}
