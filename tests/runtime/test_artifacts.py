"""An artifact is there whole or not at all, and damage is found."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.errors import NOBODYS_FAULT, UserError
from gpa.runtime.stage import Artifact, Reject
from gpa.runtime.storage import Store
from tests import unreliable

unreliable.register()

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
    assert artifacts.done("hypotheses/base", "fp", ["part-1", "part-2"]) == {"part-1"}
    assert artifacts.damage("hypotheses/base", "fp", "part-1") is None


def test_partitions_of_which_something_was_dropped_are_listed(artifacts: ArtifactStore):
    artifacts.write("quality", "fp", "part-1", Artifact(TABLE, rejects=REJECTS))
    artifacts.write("quality", "fp", "part-2", Artifact(TABLE))
    assert artifacts.done("quality", "fp", ["part-1", "part-2"]) == {"part-1", "part-2"}
    assert artifacts.dropping("quality", "fp", ["part-1", "part-2"]) == {"part-1"}


def test_other_fingerprints_are_other_artifacts(artifacts: ArtifactStore):
    artifacts.write("quality", "fp", "part-1", Artifact(TABLE))
    assert artifacts.done("quality", "other", ["part-1"]) == set()
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


def test_tables_of_many_partitions_come_in_order(artifacts: ArtifactStore):
    tables = {f"part-{n:03d}": pa.table({"n": [n], "other": ["x"]}) for n in range(200)}
    artifacts.write_tables("recordings", "fp", tables)
    assert artifacts.done("recordings", "fp", tables) == set(tables)
    backwards = list(reversed(tables))
    found = [t["n"].to_pylist() for t in artifacts.tables("recordings", "fp", backwards, ["n"])]
    assert found == [[n] for n in reversed(range(200))]


def test_tables_written_together_are_artifacts_like_any_other(artifacts: ArtifactStore):
    artifacts.write("s", "fp", "alone", Artifact(TABLE))
    artifacts.write_tables("s", "fp", {"together": TABLE})
    alone, together = (
        artifacts.store.read(artifacts.name("s", "fp", p)) for p in ("alone", "together")
    )
    assert alone == together


def test_of_many_artifacts_the_damaged_are_named(artifacts: ArtifactStore):
    for number in range(40):
        artifacts.write("s", "fp", f"part-{number:02d}", Artifact(TABLE, FILES))
    store = artifacts.store
    store.write("s/fp/part-07.tar", b"other bytes")
    store.remove("s/fp/part-33.parquet")
    partitions = [f"part-{number:02d}" for number in range(40)]
    assert list(artifacts.damaged("s", "fp", partitions)) == [
        ("part-07", "s/fp/part-07.tar has other bytes than were written"),
        ("part-33", "s/fp/part-33.parquet is gone"),
    ]


def test_storage_that_fails_while_a_stage_reads_is_no_recording_s_fault(tmp_path: Path):
    (tmp_path / "s" / "fp").mkdir(parents=True)
    store = Store(f"moody://{tmp_path}")
    ArtifactStore(store).write("s", "fp", "p", Artifact(TABLE, FILES))
    found = ArtifactStore(store).read("s", "fp", "p")
    (tmp_path / "s/fp/p.tar.reset").touch()
    with pytest.raises(NOBODYS_FAULT, match="the same command again"):
        found.files[next(iter(FILES))]
    (tmp_path / "s/fp/p.tar.reset").unlink()
    assert found.files[next(iter(FILES))] == next(iter(FILES.values()))
