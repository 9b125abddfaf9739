"""Files under a folder or on an object store: whole or not at all, and many at once."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.errors import UserError
from gpa.runtime.storage import FETCHED_TOGETHER, Store

PATIENCE_S = 60


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


def test_a_place_that_nothing_can_write_to_is_a_sentence():
    with pytest.raises(UserError, match="no place that fsspec can write to"):
        Store("nosuchprotocol://bucket")


class TogetherOnly(ThreadingHTTPServer):
    """Answers no request before FETCHED_TOGETHER of them are there: who asks one by one waits in vain."""

    daemon_threads = True
    request_queue_size = FETCHED_TOGETHER

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.crowd = threading.Barrier(FETCHED_TOGETHER, timeout=PATIENCE_S)


class Answer(BaseHTTPRequestHandler):
    server: TogetherOnly

    def do_GET(self) -> None:
        self.server.crowd.wait()
        found = "missing" not in self.path
        data = self.path.encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def remote() -> Iterator[Store]:
    with TogetherOnly() as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield Store(f"http://127.0.0.1:{server.server_port}/out")
        server.shutdown()
        serving.join()


def test_files_of_an_object_store_are_fetched_together(remote: Store):
    items = range(FETCHED_TOGETHER)
    files = {item: [f"table-{item}", f"rejects-{item}"] for item in items}
    read = [
        remote.read(name) for item in remote.ahead(items, files.__getitem__) for name in files[item]
    ]
    assert read == [f"/out/{name}".encode() for item in items for name in files[item]]


def test_a_name_that_looks_like_a_pattern_is_a_name(remote: Store):
    names = [f"[a-z]*{number}?" for number in range(FETCHED_TOGETHER)]
    read = [remote.read(name) for name in remote.ahead(names, lambda name: [name])]
    assert len(read) == FETCHED_TOGETHER


def test_what_was_fetched_is_forgotten_after_the_last_item():
    store = Store("memory://forgotten")
    store.write("file", b"old")
    for _ in store.ahead(["item"], lambda _: ["file", "missing"]):
        assert store.read("file") == b"old"
        with pytest.raises(FileNotFoundError):
            store.read("missing")
    store.write("file", b"new")
    assert store.read("file") == b"new"


@pytest.mark.parametrize("url", ["memory://many", "{tmp_path}"])
def test_many_files_are_written_together(url: str, tmp_path: Path):
    store = Store(url.format(tmp_path=tmp_path))
    store.write_all({"a/one": b"1", "b/two": b"2"})
    assert (store.read("a/one"), store.read("b/two")) == (b"1", b"2")
