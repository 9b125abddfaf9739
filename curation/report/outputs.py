"""A run as reports read it: partition by partition, only the columns that are asked for.

A run need not be finished: what is not made yet is None, and what is made is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gpa.curation.consensus.given import GIVEN
from gpa.curation.pipeline import RECORDINGS_FINGERPRINT
from gpa.curation.quality import QualityConfig
from gpa.curation.report.books import StageTables, corpus_rejects, stage_rejects
from gpa.curation.shards import Shard, written_shards
from gpa.runtime import record
from gpa.runtime.artifacts import REJECTS, ArtifactStore, TarFiles, read_parquet
from gpa.runtime.errors import UserError
from gpa.runtime.storage import Store

CORPUS_TABLE = "corpus.parquet"
# What all stages dropped, where `Run.ahead` is told what will be read.
DROPPED = "dropped"
# The step of the recipe that makes what lies under a name; `hypotheses/<asr>` is `transcribe`.
STEPS = {
    "recordings": "ingest",
    "normalized": "normalize",
    "denoised": "denoise",
    "utterances": "segment",
    "quality": "quality",
    "consensus": "consensus",
    "alignment": "punctuate",
    "packaged": "package",
}


def step_of(name: str) -> str:
    """The step that makes the artifacts of that name."""
    return "transcribe" if name.startswith("hypotheses/") else STEPS[name]


@dataclass(frozen=True)
class Run:
    """One run's artifacts, and what `run.json` says of it."""

    artifacts: ArtifactStore
    content: Mapping[str, Any]
    partial: bool

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprints by name, of all that has begun."""
        named = {"recordings": RECORDINGS_FINGERPRINT, **(self.content.get("fingerprints") or {})}
        for name, stage in self.content.get("stages", {}).items():
            if name in STEPS or name.startswith("hypotheses/"):
                named.setdefault(name, stage["fingerprint"])
        return named

    @cached_property
    def corpus(self) -> pa.Table:
        """One row a file; raises UserError where not even that is known."""
        try:
            return read_parquet(self.artifacts.store.read(CORPUS_TABLE))
        except FileNotFoundError:
            raise UserError(
                f"The run in {self.artifacts.store.url} has not listed its recordings yet; "
                f"report when its first stage is done."
            ) from None

    @cached_property
    def partitions(self) -> list[str]:
        """Names of the partitions, in the order of the run where it says one."""
        named = self.content.get("partitions")
        if named is None:
            named = pc.unique(self.corpus["partition"].drop_null()).to_pylist()
        return list(named)

    @cached_property
    def _done(self) -> dict[str, set[str]]:
        return {
            name: self.artifacts.done(name, fingerprint, self.partitions)
            for name, fingerprint in self.fingerprints.items()
        }

    @cached_property
    def _dropping(self) -> dict[str, set[str]]:
        """The partitions of which each stage dropped anything: most drop nothing of most."""
        return {
            name: self.artifacts.dropping(name, fingerprint, self._done[name])
            for name, fingerprint in self.fingerprints.items()
            if name != "recordings"
        }

    @property
    def asrs(self) -> list[str]:
        """Names of the recognisers that have heard anything, in order."""
        heard = (name for name in self.fingerprints if name.startswith("hypotheses/"))
        return sorted(name.removeprefix("hypotheses/") for name in heard)

    @property
    def voters(self) -> list[str]:
        """Who may vote: the recognisers, and a manifest's text where it does."""
        return [*self.asrs, *([GIVEN] if self.consensus_config.get("given") == "vote" else [])]

    @property
    def consensus_config(self) -> Mapping[str, Any]:
        """The section `consensus` of the pipeline."""
        return self.content["config"]["consensus"]

    @property
    def scorer(self) -> str:
        """What people call the model whose scores the quality table holds."""
        section = self.content["config"].get("quality", {})
        return QualityConfig.model_validate(section).scorer.title

    @property
    def exact_to(self) -> float:
        """The highest threshold of pWER that the tables can answer for: early exit's, else 1."""
        early_exit = self.content["config"].get("transcribe", {}).get("early_exit")
        return float(early_exit["pwer"]) if early_exit else 1.0

    def ahead(self, *names: str) -> Iterator[str]:
        """The partitions in order, with what will be read of them on its way (`Store.ahead`).

        `names` are the stages whose tables will be read; DROPPED stands for what they dropped.
        """
        return self.artifacts.store.ahead(
            self.partitions, lambda partition: self._files(names, partition)
        )

    def _files(self, names: Sequence[str], partition: str) -> Iterator[str]:
        name_of = self.artifacts.name
        for name in names:
            if name == DROPPED:
                for stage in self.dropping(partition):
                    yield name_of(stage.name, stage.fingerprint, partition, REJECTS)
            elif partition in self._done.get(name, ()):
                yield name_of(name, self.fingerprints[name], partition)

    def table(
        self, name: str, partition: str, columns: Sequence[str] | None = None
    ) -> pa.Table | None:
        """Columns of what a stage made of a partition, None where it is not made yet."""
        if partition not in self._done.get(name, ()):
            return None
        return self.artifacts.table(name, self.fingerprints[name], partition, columns)

    def path(self, name: str, partition: str) -> str | None:
        """Where the table lies that a stage made of a partition; None where it is not made yet."""
        if partition not in self._done.get(name, ()):
            return None
        file = self.artifacts.name(name, self.fingerprints[name], partition)
        return self.artifacts.store.path(file)

    def files(self, name: str, partition: str) -> Mapping[str, bytes] | None:
        """The files of an artifact, read when asked for; None where it has none yet, or no more."""
        if partition not in self._done.get(name, ()):
            return None
        tar = self.artifacts.name(name, self.fingerprints[name], partition, ".tar")
        if self.content.get("pruned") and not self.artifacts.store.exists(tar):
            return None
        return self.artifacts.files(name, self.fingerprints[name], partition)

    def kept_audio(self, partition: str, utterances: Iterable[str]) -> dict[str, bytes]:
        """FLAC of those utterances of a partition that are in shards, by key."""
        found: dict[str, bytes] = {}
        for shard in self._shards.get(partition, ()):
            tar = TarFiles(self.artifacts.store, shard.tar)
            for key in utterances:
                if f"{key}.flac" in tar:
                    found[key] = tar[f"{key}.flac"]
        return found

    @cached_property
    def _shards(self) -> dict[str, list[Shard]]:
        """The shards that are written and hold anything of a partition."""
        held: dict[str, list[Shard]] = {}
        for shard in written_shards(self.artifacts.store):
            for partition in dict.fromkeys(part[0] for part in shard.parts):
                held.setdefault(partition, []).append(shard)
        return held

    def dropped_at_ingest(self) -> pa.Table:
        """Files that became no recording, in `books.REJECTED`."""
        return corpus_rejects(self.corpus)

    def dropped(self, partition: str) -> Iterator[pa.Table]:
        """What the stages dropped of a partition, in `books.REJECTED`, stage by stage."""
        return stage_rejects(
            self.artifacts,
            self.dropping(partition),
            self.fingerprints["recordings"],
            partition,
        )

    def dropping(self, partition: str) -> list[StageTables]:
        """The stages that dropped anything of a partition."""
        return [
            StageTables(step_of(name), name, self.fingerprints[name])
            for name, partitions in self._dropping.items()
            if partition in partitions
        ]


def open_run(out: str, finished: bool = False) -> Run:
    """The run in an OUT; raises UserError as `record.require`."""
    store = Store(out)
    content = record.require(store, finished)
    return Run(ArtifactStore(store), content, partial=not content.get("finished"))
