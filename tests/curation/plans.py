"""Shards that are planned by hand."""

from __future__ import annotations

from collections.abc import Sequence

from gpa.curation.shards import Plan, Shard, written_shards
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.storage import Store


def missing_shards(store: Store, fingerprint: str, shards: Sequence[Shard]) -> list[Shard]:
    """Make these shards the plan of an OUT; returns those still to write."""
    plan = Plan(ArtifactStore(store), fingerprint, [], 1.0)
    before = list(plan.shards.values())
    gone = [shard for shard in before if shard not in shards]
    plan.replace(gone, [shard for shard in shards if shard not in before])
    written = written_shards(store)
    return [shard for shard in shards if shard not in written]
