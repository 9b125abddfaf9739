"""Waves: so much of a corpus goes through all steps, its shards included, before the rest begins.

The first shards of a large corpus then appear early, and what lies between the steps is of one
wave. Waves are a function of the partitions and the config, never of time: bytes stay the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from gpa.curation.spans import filled
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.recipe import Recipe
from gpa.runtime.stage import Stage


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
