"""What of a corpus an OUT has done already."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from gpa.curation.ingest import corpus
from gpa.curation.ingest import stage as ingest
from gpa.curation.pipeline import (
    RECORDINGS_FINGERPRINT,
    PipelineConfig,
    build_stages,
    package_stage,
)
from gpa.curation.waves import heard_again
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.recipe import fingerprints
from gpa.runtime.storage import Store


def done_s(
    store: Store, files: Sequence[corpus.RawFile], config: PipelineConfig
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of the corpus that each stage has done in an OUT, by the stage's name.

    Without those that it makes again, because their audio was pruned and is read: the second.

    Exact where OUT has seen these files and no others, which it may have seen before the corpus grew.
    """
    artifacts = ArtifactStore(store)
    probing = ingest.probe_stage()
    named = fingerprints([probing], {"listing": ingest.LISTING_FINGERPRINT})
    chunks = sorted(artifacts.done(probing.name, named[probing.name], ingest.chunks(files)))
    probed = pa.concat_tables(
        [
            ingest.PROBED.empty_table(),
            *artifacts.tables(probing.name, named[probing.name], chunks),
        ]
    )
    seen = set(probed["uri"].to_pylist())
    before = ingest.arranged(store)
    arranged = ingest.arrange(
        [f for f in files if f.uri in seen], probed, {}, config.ingest, before
    )
    seconds = {
        partition: sum(table["duration_s"].to_pylist())
        for partition, table in arranged.partitions.items()
    }
    found = {probing.name: sum(arranged.table["duration_s"].to_pylist())}
    stages = build_stages(config)
    stages.append(package_stage(config, stages))
    named = fingerprints(stages, {"recordings": RECORDINGS_FINGERPRINT})
    missing = {
        stage.name: seconds.keys() - artifacts.done(stage.name, named[stage.name], seconds)
        for stage in stages
    }
    again = heard_again(artifacts, stages, named, missing, ())
    for stage in stages:
        lacking = missing[stage.name] | again.get(stage.name, set())
        found[stage.name] = sum(seconds[name] for name in seconds.keys() - lacking)
    again_s = {name: sum(seconds[each] for each in again[name]) for name in reversed(again)}
    return found, again_s
