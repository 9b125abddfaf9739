"""A published pyannote pipeline: which models its `config.yaml` names, and where they are.

Two layouts are about. Community-1 holds its models in folders of its own, named
`$model/segmentation`, `$model/embedding` and `$model/plda`. Version 3.1 is a lone config that names
its two models, on the hub or by path; a path that is not absolute starts at the config's folder.

pyannote is handed local paths only, so that a run asks no hub. It also wants a PLDA where none is
named, as 3.1 names none: its agglomerative clustering never uses it, and gets an empty one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from gpa.curation.models.weights import resolve
from gpa.runtime.errors import UserError
from gpa.runtime.models import Source

READER = "the diarization pipeline"
OWN = "$model/"
PARTS = ("segmentation", "embedding", "plda")
OWN_FILES = ("config.yaml", "segmentation/*", "embedding/*", "plda/*")
CHECKPOINT = ("pytorch_model.bin",)

PIPELINE_3_1 = Source(
    "pyannote/speaker-diarization-3.1", READER, "MIT", ("config.yaml",), gated=True
)
MODELS_OF_3_1 = (
    Source("pyannote/segmentation-3.0", READER, "MIT", CHECKPOINT, gated=True),
    Source("pyannote/wespeaker-voxceleb-resnet34-LM", READER, "CC-BY-4.0", CHECKPOINT),
)


def pipeline_sources(name: str) -> tuple[Source, ...]:
    """The pipeline of that name on the hub, or folder, first, then models that lie elsewhere."""
    folder = Path(name).expanduser()
    if (folder / "config.yaml").is_file():
        _, named = _config(folder)
        own = [f"{each.removeprefix(OWN)}/*" for each in named.values() if each.startswith(OWN)]
        licence = "CC-BY-4.0" if own else PIPELINE_3_1.licence
        return (
            Source(name, READER, licence, ("config.yaml", *own)),
            *(_elsewhere(folder, each) for each in named.values() if not each.startswith(OWN)),
        )
    if name == PIPELINE_3_1.name:
        return (PIPELINE_3_1, *MODELS_OF_3_1)
    return (Source(name, READER, "CC-BY-4.0", OWN_FILES, gated=True),)


def load_pipeline(folder: Path) -> Any:
    """pyannote's pipeline of a folder, all its models loaded; raises UserError."""
    from pyannote.audio import Pipeline
    from pyannote.audio.core.plda import PLDA

    config, named = _config(folder)
    params = config["pipeline"]["params"]
    params["plda"] = PLDA.__new__(PLDA)
    for part, name in named.items():
        path = (
            folder / name.removeprefix(OWN)
            if name.startswith(OWN)
            else Path(resolve(_elsewhere(folder, name)).path)
        )
        # As a mapping: of a plain path pyannote guesses from its words which library it is for.
        params[part] = {"checkpoint": str(path)}
    try:
        return Pipeline.from_pretrained(config)
    except Exception as error:
        raise UserError(
            f"The diarization pipeline {folder} can't be loaded ({type(error).__name__}: {error}); "
            "name a folder in the layout of pyannote's 3.1 or community-1."
        ) from error


def _config(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A pipeline's config, and the models that it names by part; raises UserError."""
    file = folder / "config.yaml"
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        params = dict(config["pipeline"]["params"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{file} is no config of a pyannote pipeline ({type(error).__name__}: {error})."
        ) from None
    named = {part: params[part] for part in PARTS if part in params}
    if not {"segmentation", "embedding"} <= named.keys() or not all(
        isinstance(each, str) for each in named.values()
    ):
        raise UserError(
            f"{file} does not name a segmentation and an embedding model in the way of pyannote's "
            "pipelines 3.1 and community-1."
        )
    return config, named


def _elsewhere(folder: Path, name: str) -> Source:
    """A model that a pipeline's config names by path or by its name on the hub."""
    path = folder / Path(name).expanduser()
    if path.exists():
        return Source(str(path), READER, "unstated", CHECKPOINT)
    known = {source.name: source for source in MODELS_OF_3_1}
    return known.get(name, Source(name, READER, "unstated", CHECKPOINT))
