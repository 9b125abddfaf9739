"""What it is worth to ask an object store for many files at once."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection

import pyarrow as pa

from gpa.runtime.artifacts import ArtifactStore, parquet_bytes
from gpa.runtime.bench.figures import Measurement
from gpa.runtime.storage import Store

PARTITIONS = 512
# About what an object store takes before the first byte, from a machine of the same region.
ANSWERS_AFTER_S = 0.03
TABLE = parquet_bytes(pa.table({"utterance_id": [f"{number:016x}" for number in range(600)]}))


class _Answer(BaseHTTPRequestHandler):
    """One table, whatever is asked for, after a while."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: the second would wait for the first's receipt

    def do_GET(self) -> None:
        time.sleep(ANSWERS_AFTER_S)
        self.send_response(200)
        self.send_header("Content-Length", str(len(TABLE)))
        self.end_headers()
        self.wfile.write(TABLE)

    def log_message(self, *_: object) -> None:
        pass


class _Storage(ThreadingHTTPServer):
    request_queue_size = 128  # nobody is turned away, to come again a second later


def _serve(port: Connection) -> None:
    """Answer for ever; says first at which port."""
    with _Storage(("127.0.0.1", 0), _Answer) as server:
        port.send(server.server_port)
        server.serve_forever()


@contextmanager
def _slow_to_answer() -> Iterator[str]:
    """The URL of storage that is as slow to answer as one far away, in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    serving = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,))
    serving.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/out"
    finally:
        serving.kill()


def bench() -> Iterator[Measurement]:
    """Tables of some hundred partitions, one by one and together; takes half a minute."""
    partitions = [f"part-{number:05d}" for number in range(PARTITIONS)]
    with _slow_to_answer() as url:
        artifacts = ArtifactStore(Store(url))
        began = time.perf_counter()
        for partition in partitions:
            artifacts.table("utterances", "1", partition)
        alone = time.perf_counter()
        for _ in artifacts.tables("utterances", "1", partitions):
            pass
        together = time.perf_counter()
    yield Measurement(
        "tables off an object store, one by one / fetched together",
        (alone - began) / (together - alone),
        "x",
        at_least=20,
    )
    yield Measurement(
        "a table off an object store that answers in 30 ms",
        (together - alone) / PARTITIONS * 1000,
        "ms",
    )
