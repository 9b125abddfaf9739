"""What the end of a run costs, and what reads it afterwards: `gpa calibrate`, `gpa tokenize`.

Of `tokenize` all but the models is measured: every shard is given the same tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console

from gpa.curation.bench import close
from gpa.curation.curated import find_shards
from gpa.curation.report.outputs import open_run
from gpa.eval.labels import calibrate
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.bench.figures import Measurement
from gpa.runtime.execution import Engine
from gpa.runtime.stage import Artifact
from gpa.runtime.storage import Store
from gpa.tokenize import run as tokenizing
from gpa.tokenize.shards import TOTALS_SCHEMA, Provenance, shard_totals
from gpa.train.scale import synthetic_rows


def bench() -> Iterator[Measurement]:
    """All measurements; they need 5 GB of disk and take ten minutes."""
    yield from close.bench(STEPS)


def _calibrate(out: str, _: Engine) -> None:
    """By verdicts on the utterances of one partition."""
    run, verdicts = open_run(out), Path(out) / "verdicts.jsonl"
    (cuts,) = run.artifacts.tables("consensus", "1", run.partitions[:1], ["utterance_id"])
    judged = ({"utterance_id": str(key), "verdict": "right"} for key in cuts["utterance_id"])
    verdicts.write_text("".join(f"{json.dumps(row)}\n" for row in judged))
    calibrate.run(out, None, verdicts, None, Console(quiet=True))


def _tokenize(out: str, _: Engine) -> None:
    shards = find_shards(out)
    artifacts = ArtifactStore(Store(f"{out}/tokens"))
    artifacts.write_tables("curated", "1", shards.partitions)
    rows = synthetic_rows(np.arange(shards.utterances // len(shards.partitions)))
    tokens = Artifact(pa.Table.from_pylist([shard_totals(rows)], TOTALS_SCHEMA), mapped=rows)
    for partition in shards.partitions:
        artifacts.write(tokenizing.STAGE, "1", partition, tokens)
    provenance = Provenance("none", "none", "none", False)
    tokenizing.close(artifacts, "1", list(shards.partitions), provenance, 1.0)


STEPS: dict[str, close.Step] = {**close.STEPS, "calibrate": _calibrate, "tokenize": _tokenize}
