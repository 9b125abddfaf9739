"""Where weights are found, what is missing of them, and what is said about it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from gpa.curation.models.weights import Place, download, locate, resolve
from gpa.runtime.errors import UserError
from gpa.runtime.models import Source

SOURCE = Source(
    name="owner/model",
    reader="Model",
    licence="CC-BY-4.0",
    files=("model*.safetensors", "config.json"),
    optional=("model.safetensors.index.json",),
)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub: the one of this machine may hold anything."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def write(folder: Path, **files: bytes) -> Path:
    """A folder with a checkpoint; `config` becomes `config.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_bytes(files.pop("config", b"{}"))
    for name, content in files.items():
        (folder / f"{name}.safetensors").write_bytes(content)
    return folder


def cached(hub: Path, **files: bytes) -> Path:
    """A snapshot of `owner/model` in the hub's cache, laid out as the hub's client does it."""
    model = hub / "models--owner--model"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("c0ffee")
    return write(model / "snapshots" / "c0ffee", **files)


def named(path: Path) -> Source:
    return replace(SOURCE, name=str(path))


def test_a_local_folder_is_taken_as_it_is(tmp_path: Path):
    folder = write(tmp_path / "mine", model=b"weights")
    assert locate(named(folder)) == Place("folder", folder)
    assert resolve(named(folder)).origin == "folder"


def test_one_file_may_be_named_itself(tmp_path: Path):
    file = tmp_path / "model.nemo"
    file.write_bytes(b"weights")
    assert resolve(named(file)).sha256 == hashlib.sha256(b"weights").hexdigest()


def test_the_hash_changes_with_any_file_that_is_read_and_with_no_other(tmp_path: Path):
    folder = write(tmp_path / "one", model=b"weights")
    renamed = write(tmp_path / "other", model=b"weights")
    (renamed / "README.md").write_text("not read")
    retrained = write(tmp_path / "third", model=b"other weights")
    configured = write(tmp_path / "fourth", model=b"weights", config=b'{"layers": 2}')
    one, other, third, fourth = (
        resolve(named(each)).sha256 for each in (folder, renamed, retrained, configured)
    )
    assert one == other
    assert len({one, third, fourth}) == 3


def test_a_local_folder_that_is_not_whole_is_an_error_that_names_the_file(tmp_path: Path):
    folder = write(tmp_path / "mine", model=b"weights")
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"has no config\.json, which Model reads"):
        locate(named(folder))


def test_the_hubs_cache_is_found_without_a_network(hub_cache: Path):
    snapshot = cached(hub_cache, model=b"weights")
    assert locate(SOURCE) == Place("hub", snapshot)
    assert download(SOURCE) == snapshot
    assert resolve(SOURCE).path == str(snapshot)


def test_a_download_that_broke_off_is_not_taken_for_a_checkpoint(hub_cache: Path):
    snapshot = cached(hub_cache, **{"model-1": b"first half"})
    assert locate(SOURCE).path == snapshot
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    assert locate(SOURCE) == Place("hub", None)


def test_what_only_the_hub_has_is_an_error_that_names_the_doctor(hub_cache: Path):
    assert locate(SOURCE) == Place("hub", None)
    with pytest.raises(UserError, match="owner/model are not on this machine; see `gpa doctor`"):
        resolve(SOURCE)


def test_a_hub_that_cannot_be_reached_is_an_error_with_a_remedy(hub_cache: Path):
    with pytest.raises(UserError, match="owner/model can't be had from the hub"):
        download(SOURCE)


@pytest.mark.parametrize("name", ["/no/such/folder", "./weights", "large-v3", "a/b/c"])
def test_a_name_that_is_neither_path_nor_hub_name_is_an_error(name: str):
    with pytest.raises(UserError, match="are nowhere"):
        locate(replace(SOURCE, name=name))
