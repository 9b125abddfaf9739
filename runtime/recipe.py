"""Runs stages one after the other over partitions, making only what is missing."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Mapping, Sequence

from rich.console import Console

from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.execution import Engine, Job
from gpa.runtime.progress import StageProgress, duration
from gpa.runtime.record import NO_WORK, RunRecord
from gpa.runtime.stage import Stage

# Of a stage in this run, before it is made for the first time.
NOTHING_YET = {"partitions": 0, "cached": 0, "wall_s": 0.0}


def fingerprints(stages: Sequence[Stage], given: Mapping[str, str]) -> dict[str, str]:
    """The fingerprint of each stage, in order; `given` names those that are no stages."""
    found = dict(given)
    for stage in stages:
        found[stage.name] = stage.fingerprint(found)
    return found


class Recipe:
    """Stages on an engine, with progress shown and time recorded."""

    def __init__(
        self, artifacts: ArtifactStore, engine: Engine, record: RunRecord, console: Console
    ):
        self.artifacts = artifacts
        self.engine = engine
        self.record = record
        self._console = console
        self._run_id = uuid.uuid4().hex

    def make(
        self,
        stage: Stage,
        named: Mapping[str, str],
        partitions: Mapping[str, float],
        missing: Collection[str] | None = None,
    ) -> dict[str, Mapping[str, str]]:
        """Make what is missing of one stage; returns what of it there can't be in this run.

        That is partitions with what storage did not give of them: why, by address.

        `named` holds the fingerprints of this stage and its inputs, `partitions` the audio
        seconds of each, `missing` those that lack their artifact where the caller has looked. A
        run may make a stage several times, of other partitions. Raises UserError where the stage
        fails as a whole.
        """
        fingerprint = named[stage.name]
        if missing is None:
            missing = partitions.keys() - self.artifacts.done(stage.name, fingerprint, partitions)
        # The longest first: no worker is left with a long one when the others have ended.
        missing = sorted(missing, key=lambda p: (-partitions[p], p))
        began = time.monotonic()
        made_s, deaths = 0.0, 0
        not_read: dict[str, Mapping[str, str]] = {}
        job = Job(stage, fingerprint, {name: named[name] for name in stage.inputs})
        total_s = sum(partitions[partition] for partition in missing)
        with StageProgress(self._console, stage.name, total_s).shown() as progress:
            for outcome in self.engine.run(job, missing, self.artifacts.store.url, self._run_id):
                self.record.add_work(stage.name, fingerprint, outcome)
                if outcome.not_read:
                    not_read[outcome.partition] = outcome.not_read
                made_s += partitions[outcome.partition]
                deaths += outcome.retries
                progress.advance(partitions[outcome.partition])
        self.artifacts.sweep(stage.name, fingerprint)
        wall_s = time.monotonic() - began
        cached = len(partitions) - len(missing)
        work = self.record.work(stage.name, fingerprint)
        earlier = self.record.content["stages"].get(stage.name, NOTHING_YET)
        self.record.content["stages"][stage.name] = {
            "step": stage.step,
            "fingerprint": fingerprint,
            "partitions": earlier["partitions"] + len(partitions),
            "cached": earlier["cached"] + cached,
            "wall_s": round(earlier["wall_s"] + wall_s, 3),
            # Over all runs that made these artifacts:
            **{name: round(work[name], 3) for name in NO_WORK if name != "partitions"},
        }
        self.record.save()
        speed = f"{made_s / wall_s:7.1f}x real time" if missing else " " * 18
        notes = [f"{cached} of {len(partitions)} partitions were done"] if cached else []
        if deaths:
            notes.append(f"workers that died and were replaced: {deaths}")
        if not_read:
            notes.append(f"waiting for files that can't be read: {len(not_read)} partitions")
        self._console.print(
            f"  {stage.name:<28} {duration(made_s):>11}  {wall_s:7.1f} s {speed}  [dim]{'; '.join(notes)}[/dim]"
        )
        return not_read
