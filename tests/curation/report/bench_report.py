"""How fast a report of a large run is: `python -m tests.curation.report.bench_report`.

Writes an OUT of 1,000,000 utterances heard by five recognisers (one partition of real decisions,
under 1,000 names), then reports on it in a process of its own and checks time and memory.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from gpa.curation.report.audit import audit
from gpa.curation.report.outputs import open_run
from gpa.curation.report.write import PAGE, SAMPLES, write_report
from gpa.runtime.stage import Artifact, Reject
from tests.curation.report.synthetic import ASRS, Builder, fingerprint

UTTERANCES = 1_000_000
IN_PARTITION = 1_000
MOST_S, MOST_GIB, MOST_MB = 60.0, 2.0, 15.0
IDS = ("recording_id", "utterance_id", "speaker")


def write_large(folder: Path, utterances: int) -> None:
    """An OUT of so many utterances, without audio."""
    builder = Builder(folder, asrs=ASRS, audio=False)
    paths = [f"{number}.wav" for number in range(10)]
    made = builder.partition("part-00000", paths, IN_PARTITION // len(paths))
    corpus = list(builder.corpus)
    for number in range(1, utterances // IN_PARTITION):
        name = f"part-{number:05d}"
        for stage, artifact in made.items():
            rejects = [
                Reject(**{**vars(r), **{
                    key: getattr(r, key) and getattr(r, key).replace("part-00000", name)
                    for key in ("recording_id", "utterance_id")
                }})
                for r in artifact.rejects
            ]  # fmt: skip
            builder.artifacts.write(
                stage,
                fingerprint(stage),
                name,
                Artifact(renamed(artifact.table, name), rejects=rejects),
            )
        builder.partitions.append(name)
        builder.corpus += [
            {**row, "recording_id": row["recording_id"].replace("part-00000", name),
             "partition": name}
            for row in corpus
        ]  # fmt: skip
    builder.finish()


def renamed(table: pa.Table, name: str) -> pa.Table:
    """The same rows under the ids of another partition."""
    for column in IDS:
        if column in table.column_names:
            place = table.column_names.index(column)
            ids = pc.replace_substring(table[column], "part-00000", name)
            table = table.set_column(place, table.schema.field(column), ids)
    return table


def measure(out: str) -> None:
    """Report on an OUT; prints seconds, GiB at the peak and MB of page, and checks them."""
    run = open_run(out)
    began = time.perf_counter()
    result = write_report(run, audit(run, SAMPLES))
    seconds = time.perf_counter() - began
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    page_mb = len(run.artifacts.store.read(PAGE)) / 1e6
    utterances = sum(group["utterances"] for group in result["by_language"].values())
    print(
        f"{utterances:,} utterances: {seconds:.1f} s ({time.process_time():.1f} s of CPU), "
        f"{peak_gib:.2f} GiB, page {page_mb:.2f} MB"
    )
    assert result["reconciles"]
    assert seconds < MOST_S, f"more than {MOST_S} s"
    assert peak_gib < MOST_GIB, f"more than {MOST_GIB} GiB"
    assert page_mb < MOST_MB, f"more than {MOST_MB} MB"


def main(module: str, measure: Callable[[str], None]) -> None:
    """Write, and measure in another process of `module`, whose peak is what is measured alone."""
    if len(sys.argv) > 2:
        measure(sys.argv[2])
        return
    utterances = int(sys.argv[1]) if len(sys.argv) > 1 else UTTERANCES
    with tempfile.TemporaryDirectory() as folder:
        write_large(Path(folder), utterances)
        subprocess.run([sys.executable, "-m", module, "measure", folder], check=True)


if __name__ == "__main__":
    main("tests.curation.report.bench_report", measure)
