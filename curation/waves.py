"""Waves: so much of a corpus goes through all steps, its shards included, before the rest begins.

The first shards of a large corpus then appear early. What lies between the steps is of one wave,
where audio that no later step needs is pruned: it can be made again of the recordings. Waves are a
function of the partitions and the config, never of time: bytes stay the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from gpa.curation.spans import filled
from gpa.runtime import record
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.lock import only_run
from gpa.runtime.recipe import Recipe
from gpa.runtime.stage import Stage
from gpa.runtime.storage import Store

# The stages that make audio.
AUDIO = ("normalized", "denoised", "utterances")


@dataclass(frozen=True)
class Wave:
    """Partitions that go through the steps together: their seconds, and what each stage lacks."""

    seconds: dict[str, float]
    missing: dict[str, list[str]]  # by the stage's name

    def make(
        self, recipe: Recipe, stages: Sequence[Stage], named: Mapping[str, str]
    ) -> dict[str, str]:
        """Make what is missing; returns why files were not read in this run, by address.

        Their partitions are left out of the wave: the next run makes them.
        """
        not_read: dict[str, str] = {}
        for stage in stages:
            missing = [name for name in self.missing[stage.name] if name in self.seconds]
            for partition, why in recipe.make(stage, named, self.seconds, missing).items():
                del self.seconds[partition]
                not_read |= why
        return not_read

    def hear_again(
        self,
        artifacts: ArtifactStore,
        stages: Sequence[Stage],
        named: Mapping[str, str],
        wanted: Collection[str],
    ) -> None:
        """Forget artifacts whose audio was pruned and is read again, so that `make` makes them."""
        for stage, partitions in heard_again(
            artifacts, stages, named, self.missing, wanted
        ).items():
            for partition in partitions:
                artifacts.remove(stage, named[stage], partition)
            self.missing[stage] += sorted(partitions)


def heard_again(
    artifacts: ArtifactStore,
    stages: Sequence[Stage],
    named: Mapping[str, str],
    missing: Mapping[str, Collection[str]],
    wanted: Collection[str],
) -> dict[str, set[str]]:
    """Partitions whose audio was pruned and is read again, by the stage that makes it.

    It is read by stages that are `missing` of them, and what was cut by the shards, of the
    partitions `wanted`. `stages` are in their order.
    """
    read: dict[str, set[str]] = {"utterances": set(wanted)}
    again: dict[str, set[str]] = {}
    for stage in reversed(stages):
        to_make = set(missing[stage.name])
        if stage.name in AUDIO and (asked := read.get(stage.name, set()) - to_make):
            again[stage.name] = artifacts.pruned(stage.name, named[stage.name], asked)
            to_make |= again[stage.name]
        if not stage.tables_only:
            for name in stage.inputs:
                read.setdefault(name, set()).update(to_make)
    return again


def prune(artifacts: ArtifactStore, named: Mapping[str, str], partitions: Collection[str]) -> None:
    """Delete the audio of these partitions that lies between the steps: their shards are written."""
    for stage in AUDIO:
        if stage in named:
            artifacts.prune(stage, named[stage], partitions)


def prune_all(out: str) -> int:
    """Delete all audio between the steps of a finished run, of earlier configs too.

    Returns how many files there were; raises UserError where there is no finished run.
    """
    store = Store(out)
    with only_run(store):
        content = record.require(store)
        record.write(store, {**content, "pruned": True})
        artifacts = ArtifactStore(store)
        return sum(
            artifacts.prune(stage, fingerprint)
            for stage in AUDIO
            for fingerprint in store.folders(stage)
        )


def waves(
    artifacts: ArtifactStore,
    stages: Sequence[Stage],
    named: Mapping[str, str],
    seconds: Mapping[str, float],
    hours: float,
) -> list[Wave]:
    """Partitions in their order, in waves that each end once they hold so many hours of audio.

    What is done is asked here for all of them: it takes one listing a stage, however many waves
    there are.
    """
    found = [Wave(dict(wave), {}) for wave in filled(seconds.items(), itemgetter(1), hours * 3600)]
    for stage in stages:
        done = artifacts.done(stage.name, named[stage.name], seconds)
        for wave in found:
            wave.missing[stage.name] = [name for name in wave.seconds if name not in done]
    return found
