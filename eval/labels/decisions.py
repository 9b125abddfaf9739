"""What consensus decided of every utterance of a run, one partition in memory at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pyarrow.compute as pc

from gpa.curation.consensus.stage import ConsensusConfig
from gpa.curation.report.outputs import Run, open_run
from gpa.runtime.config import parse

COLUMNS = (
    "utterance_id", "kept", "reason", "language", "pwer", "verifier_distance", "early_exit",
)  # fmt: skip


@dataclass(frozen=True)
class Decision:
    """What consensus decided on an utterance, and its length."""

    utterance_id: str
    kept: bool
    reason: str | None  # why consensus dropped it
    language: str
    pwer: float | None
    verifier_distance: float | None
    skipped: Collection[str] | bool  # whether early exit spared it any ASR
    seconds: float


@dataclass(frozen=True)
class Decisions:
    """The decisions of a finished run, in the order of its partitions, as often as asked for."""

    run: Run
    consensus: ConsensusConfig

    def __iter__(self) -> Iterator[Decision]:
        for partition in self.run.ahead("consensus", "utterances"):
            decided = self.run.table("consensus", partition, COLUMNS)
            cuts = self.run.table("utterances", partition, ["utterance_id", "start_s", "end_s"])
            if decided is None or cuts is None:
                continue
            places = pc.index_in(decided["utterance_id"], value_set=cuts["utterance_id"])
            seconds = pc.subtract(cuts["end_s"], cuts["start_s"]).take(places)
            columns = [decided[name].to_pylist() for name in COLUMNS]
            for values in zip(*columns, seconds.to_pylist(), strict=True):
                yield Decision(*values)


def read_decisions(out: str) -> Decisions:
    """Open a finished run; raises UserError where there is none."""
    run = open_run(out, finished=True)
    return Decisions(run, parse(ConsensusConfig, run.consensus_config, f"{out}/run.json"))
