"""The stage contract: a partition's artifacts in, one artifact out.

A stage knows neither the engine that runs it, nor where storage is, nor how progress is shown.
It reads tables and audio of the stages above it, calls plain functions, and returns rows, files
and rejects. What is wrong with one recording or utterance is a reject, never an exception.

Its artifacts' names hold everything that their bytes depend on (`gpa.runtime.naming`): what
`process` reads is in `config`, in files that an adapter's identity hashes, in `inputs`, or in the
`layers` that the stage declares; anything else that it read would make its artifacts stale.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar, Protocol, TypeVar

import pyarrow as pa

from gpa.runtime.config import Config, digest
from gpa.runtime.errors import fault
from gpa.runtime.interpreter import facts_of
from gpa.runtime.models import Adapter, Facts
from gpa.runtime.naming import layers_of, with_layers

Result = TypeVar("Result")
# A row takes ten times the memory as a dictionary that it takes in a table.
ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Reject:
    """One thing that a stage dropped, and why.

    `reason` is a short snake_case code; `value` is the number that decided, where one did;
    `detail` is for people. `start_s` and `end_s` are seconds in the recording. Over all stages
    the `seconds` of rejects and the seconds kept add up to the seconds that went in.
    """

    recording_id: str
    reason: str
    seconds: float
    utterance_id: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    value: float | None = None
    detail: str | None = None


REJECT_SCHEMA = pa.schema(
    [
        pa.field("recording_id", pa.string(), nullable=False),
        pa.field("utterance_id", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("start_s", pa.float64()),
        pa.field("end_s", pa.float64()),
        pa.field("value", pa.float64()),
        pa.field("detail", pa.string()),
    ]
)


@dataclass(frozen=True)
class Artifact:
    """What one stage made of one partition.

    `files` maps names to bytes in the order in which they are stored in a tar; names have the
    form `<key>.<what>.flac`. `mapped` are rows that readers map into memory, in an uncompressed
    Arrow file. When an artifact is read back, files are read only when asked for, and mapped rows
    are not.
    """

    table: pa.Table
    files: Mapping[str, bytes] = field(default_factory=dict)
    rejects: Sequence[Reject] = ()
    # Audio seconds that this stage worked on: for speeds and progress, not part of the artifact.
    audio_s: float = 0.0
    mapped: pa.RecordBatch | None = None


class Attempts(Protocol):
    """Guards against recordings that kill the worker (a segfault, out of memory).

    `quarantined` names recordings that killed two workers of this stage: the stage must reject
    them with the reason "quarantined" and not touch them. `careful` is true after a first
    death: the stage then works one recording at a time, each inside `on([recording_id])`, so
    that a second death can be pinned on one. Without a death `on` costs nothing.
    """

    quarantined: frozenset[str]
    careful: bool

    def on(self, recording_ids: Sequence[str]) -> AbstractContextManager[None]:
        """Say which recordings are about to be worked on, until the context ends."""
        ...


class Stage(ABC):
    """One step of the recipe.

    `step` is the recipe's word for it (and its file in `curation/`); `name` is unique in a
    pipeline and names what it makes, which is the folder of its artifacts; `version` is raised
    whenever the code would give other bytes for the same input; `inputs` names the stages whose
    artifacts `process` is handed; `layers` says how many layers of what a partition's name stands
    for it reads itself, out of tables that no stage made; `tables_only` that it opens no file of
    its inputs.
    """

    step: ClassVar[str]
    version: ClassVar[int] = 1
    layers: ClassVar[int] = 0
    tables_only: ClassVar[bool] = False

    def __init__(self, name: str, config: Config, inputs: Sequence[str] = ()):
        self.name = name
        self.config = config
        self.inputs = tuple(inputs)

    def adapters(self) -> Mapping[str, Adapter]:
        """The models of this stage, by the name that reports give them; none are loaded."""
        return {}

    @property
    def environment(self) -> str | None:
        """The interpreter that this stage's workers run in; None: the same as everything else."""
        named = {adapter.config.environment for adapter in self.adapters().values()}
        return next(iter(named), None)

    def models(self) -> Mapping[str, Facts]:
        """What the models declare, each asked in its own environment.

        Raises UserError with the remedy where a library or weights are missing.
        """
        return {name: facts_of(adapter) for name, adapter in self.adapters().items()}

    def model_identity(self) -> str:
        """What the models of this stage are, down to their weights; empty where it has none."""
        return "; ".join(facts.identity for facts in self.models().values())

    def needs_models(self, inputs: Mapping[str, Artifact]) -> bool:
        """Whether `process` may ask a model about these inputs."""
        return True

    def load(self) -> None:
        """Load models; called once in a worker, before the first `process` that needs them."""
        for adapter in self.adapters().values():
            adapter.load()

    @abstractmethod
    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        """Make this stage's artifact for one partition.

        Pure: the same inputs give the same table, files and rejects, byte for byte, on any
        worker. Time and machine never enter an artifact.
        """

    def fingerprint(self, upstream: Mapping[str, str]) -> str:
        """Name of this stage's artifacts: code version, config, models and all that is above."""
        above = {name: upstream[name] for name in self.inputs}
        made_of = digest(
            {
                "stage": self.name,
                "version": self.version,
                "config": self.config.model_dump(mode="json"),
                "models": self.model_identity(),
                "upstream": above,
            }
        )
        return with_layers(made_of, max([self.layers, *map(layers_of, above.values())]))


def survivors(
    recordings: Iterable[dict],
    attempts: Attempts,
    rejects: list[Reject],
    work: Callable[[str], Result],
) -> Iterator[tuple[str, float, Result]]:
    """Id and seconds of recordings, and what `work` makes of each by its id.

    `rejects` takes those that are quarantined, and those at whose fault it fails.
    """
    for recording in recordings:
        recording_id, seconds = recording["recording_id"], recording["duration_s"]
        if recording_id in attempts.quarantined:
            rejects.append(Reject(recording_id, "quarantined", seconds))
            continue
        try:
            with attempts.on([recording_id]):
                made = work(recording_id)
        except Exception as error:  # one recording's fault is its reject, not the run's end
            rejects.append(Reject(recording_id, "failed", seconds, detail=fault(error)))
        else:
            yield recording_id, seconds, made


class NoAttempts:
    """Attempts for a stage that is called directly, in tests and notebooks."""

    quarantined: frozenset[str] = frozenset()
    careful = False

    def on(self, recording_ids: Sequence[str]) -> AbstractContextManager[None]:
        return nullcontext()


def rows(table: pa.Table) -> Iterator[dict]:
    """Rows of a table as dictionaries, few of which are there at a time."""
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        yield from batch.to_pylist()


def table_of(rows: Iterable[dict], schema: pa.Schema) -> pa.Table:
    """A table of rows that are made while it is, without what of them is not in the schema."""
    left = iter(rows)
    some = iter(lambda: list(islice(left, ROWS_AT_ONCE)), [])
    batches = [pa.RecordBatch.from_pylist(each, schema) for each in some]
    return pa.Table.from_batches(batches, schema)
