"""Storage: an artifact is there whole or not at all, and damage is found."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pyarrow as pa
import pytest
import webdataset

from gpa.runtime.errors import UserError
from gpa.runtime.stage import Artifact, Reject
from gpa.runtime.storage import ArtifactStore, Store, tar_bytes

TABLE = pa.table({"utterance_id": ["a", "b"], "words": [["x"], []]})
FILES = {"a.normalized.flac": b"first", "b.normalized.flac": b"second"}
REJECTS = [Reject("r", "too_short", 0.5, start_s=1.0, end_s=1.5)]


@pytest.fixture(params=["local", "memory"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    url = str(tmp_path) if request.param == "local" else f"memory://{tmp_path.name}"
    return ArtifactStore(Store(url))


def test_an_artifact_comes_back_as_it_was_written(artifacts: ArtifactStore):
    artifacts.write("hypotheses/base", "fp", "part-1", Artifact(TABLE, FILES, REJECTS))
    found = artifacts.read("hypotheses/base", "fp", "part-1")
    assert found.table.equals(TABLE)
    assert dict(found.files) == FILES
    assert found.rejects == REJECTS
    assert artifacts.done("hypotheses/base", "fp") == {"part-1"}
    assert artifacts.damage("hypotheses/base", "fp", "part-1") is None


def test_partitions_of_which_something_was_dropped_are_listed(artifacts: ArtifactStore):
    artifacts.write("quality", "fp", "part-1", Artifact(TABLE, rejects=REJECTS))
    artifacts.write("quality", "fp", "part-2", Artifact(TABLE))
    assert artifacts.done("quality", "fp") == {"part-1", "part-2"}
    assert artifacts.dropping("quality", "fp") == {"part-1"}


def test_other_fingerprints_are_other_artifacts(artifacts: ArtifactStore):
    artifacts.write("quality", "fp", "part-1", Artifact(TABLE))
    assert artifacts.done("quality", "other") == set()
    assert not artifacts.exists("quality", "other", "part-1")


def test_the_same_artifact_is_the_same_bytes(tmp_path: Path):
    stores = [ArtifactStore(Store(str(tmp_path / name))) for name in ("one", "two")]
    for artifacts in stores:
        artifacts.write("s", "fp", "p", Artifact(TABLE, FILES, REJECTS))
    for suffix in (".parquet", ".tar", ".rejects.parquet"):
        one, two = (artifacts.store.read(f"s/fp/p{suffix}") for artifacts in stores)
        assert one == two


@pytest.mark.parametrize("suffix", [".parquet", ".tar", ".rejects.parquet"])
def test_a_flipped_byte_is_found(tmp_path: Path, suffix: str):
    artifacts = ArtifactStore(Store(str(tmp_path)))
    artifacts.write("s", "fp", "p", Artifact(TABLE, FILES, REJECTS))
    file = tmp_path / "s" / "fp" / f"p{suffix}"
    data = bytearray(file.read_bytes())
    position = data.index(b"first") if suffix == ".tar" else 60
    data[position] ^= 0x10
    file.write_bytes(bytes(data))
    assert artifacts.damage("s", "fp", "p") is not None


@pytest.mark.parametrize("suffix", [".parquet", ".tar", ".rejects.parquet"])
def test_who_reads_a_damaged_artifact_is_told_and_the_artifact_forgotten(
    tmp_path: Path, suffix: str
):
    artifacts = ArtifactStore(Store(str(tmp_path)))
    artifacts.write("s", "fp", "p", Artifact(TABLE, FILES, REJECTS))
    path = tmp_path / "s" / "fp" / f"p{suffix}"
    path.write_bytes(path.read_bytes()[:-100])
    with (
        pytest.raises(UserError, match=rf"s/fp/p{suffix} .* now makes it again"),
        artifacts.forgetting_damage(),
    ):
        dict(artifacts.read("s", "fp", "p").files)
    assert not artifacts.exists("s", "fp", "p")


def test_a_lost_tar_is_found(tmp_path: Path):
    artifacts = ArtifactStore(Store(str(tmp_path)))
    artifacts.write("s", "fp", "p", Artifact(TABLE, FILES))
    (tmp_path / "s" / "fp" / "p.tar").unlink()
    assert "is gone" in (artifacts.damage("s", "fp", "p") or "")


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path):
    store = Store(str(tmp_path))
    store.write("folder/file", b"old")
    with pytest.raises(TypeError):
        store.write("folder/file", "text, not bytes")  # type: ignore[arg-type]
    assert store.read("folder/file") == b"old"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["file"]


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"There is no room left .* all that is done stays"):
        Store(str(tmp_path)).write("folder/file", b"data")
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_half_written_file_is_not_listed_and_swept_away(tmp_path: Path):
    store = Store(str(tmp_path))
    store.write("s/fp/p.parquet", b"")
    half = tmp_path / "s" / "fp" / ".q.parquet.0.partial"
    half.write_bytes(b"half")
    assert store.names("s/fp") == ["p.parquet"]
    ArtifactStore(store).sweep("s", "fp")
    assert not half.exists()
    assert store.exists("s/fp/p.parquet")


def test_files_of_a_key_are_adjacent_in_a_tar_and_keep_their_order():
    import tarfile

    with tarfile.open(
        fileobj=io.BytesIO(tar_bytes({"b.flac": b"1", "b.json": b"2", "a.flac": b"3"}))
    ) as tar:
        assert tar.getnames() == ["b.flac", "b.json", "a.flac"]
        assert {member.mtime for member in tar.getmembers()} == {0}


def test_a_tar_has_the_bytes_that_webdatasets_own_writer_gives():
    files = {"b.flac": b"1" * 700, "b.json": b"{}", "a.denoised.flac": b""}
    theirs = io.BytesIO()
    with webdataset.TarWriter(theirs, encoder=False, mtime=0, user="gpa", group="gpa") as writer:
        for name, data in files.items():
            key, extension = name.split(".", 1)
            writer.write({"__key__": key, extension: data})
    assert tar_bytes(files) == theirs.getvalue()


def test_a_place_that_nothing_can_write_to_is_a_sentence():
    with pytest.raises(UserError, match="no place that fsspec can write to"):
        Store("nosuchprotocol://bucket")
