"""Reads a folder as ingest and normalize do, in a process whose memory and time are bounded.

`python -m tests.curation.read_corpus FOLDER` prints `at FILE` before a file is touched, then for
each file what became of it, then DONE. A decoder that crashes, hangs or wants more memory than
any file here is worth ends the process; the last `at` says on which file.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from gpa.curation.ingest.corpus import find
from gpa.curation.ingest.stage import (
    PROBED,
    IngestConfig,
    ProbeConfig,
    ProbeStage,
    arrange,
    chunks,
)
from gpa.curation.normalize import NormalizeConfig, NormalizeStage
from gpa.runtime.stage import Artifact, rows

DONE = "every file has its row"
MEMORY_BYTES = 3 << 28  # beside the libraries: more than some seconds of audio need
FILE_S = 10


class Watched:
    """The guard of a worker, which here counts the seconds and says where it is."""

    quarantined: frozenset[str] = frozenset()
    careful = True

    @contextlib.contextmanager
    def on(self, recording_ids: Sequence[str]) -> Iterator[None]:
        print("at", *recording_ids, flush=True)
        signal.alarm(FILE_S)
        yield
        signal.alarm(0)


def main(folder: str) -> None:
    pages, *_ = Path("/proc/self/statm").read_text().split()
    limit = int(pages) * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    files = find(folder)
    probe = ProbeStage("probed", ProbeConfig(), ["listing"])
    probed = [
        probe.process(chunk, {"listing": Artifact(listing)}, Watched()).table
        for chunk, listing in chunks(files).items()
    ]
    corpus = arrange(files, pa.concat_tables([PROBED.empty_table(), *probed]), {}, IngestConfig())
    normalize = NormalizeStage("normalized", NormalizeConfig(), ["recordings"])
    for partition, table in corpus.partitions.items():
        artifact = normalize.process(partition, {"recordings": Artifact(table)}, Watched())
        made = set(artifact.table["recording_id"].to_pylist())
        dropped = {r.recording_id: r.reason for r in artifact.rejects if r.start_s is None}
        for recording in table["recording_id"].to_pylist():
            assert (recording in made) != (recording in dropped)
            print("normalized" if recording in made else dropped[recording], recording)
    for file in rows(corpus.table):
        if file["state"] != "recording" and file["reason"] != "other_stream":
            print(file["reason"] or file["state"], file["path"])
    print(DONE)


if __name__ == "__main__":
    main(sys.argv[1])
