"""NVIDIA NeMo: restoring a `.nemo` checkpoint, quietly and on one thread, and what it hears."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpa.curation.models.asr.hearing import rising_words
from gpa.curation.models.device import prepare_torch
from gpa.curation.models.protocols import Hypothesis, Waveform
from gpa.curation.models.weights import files_of, library, resolve
from gpa.runtime.errors import UserError
from gpa.runtime.models import Facts, Source, Weights

SAMPLE_RATE = 16000
# NeMo pads shorter clips to this on both sides, and so moves their word times; we pad the end.
SHORTEST_S = 1.0

# The 25 languages of Granary, on which Parakeet-TDT-0.6B-v3 and Canary-1B-v2 were trained.
GRANARY_LANGUAGES = frozenset(
    {
        "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hr", "hu", "it",
        "lt", "lv", "mt", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "uk",
    }
)  # fmt: skip


def source_of(name: str, reader: str, licence: str) -> Source:
    """A `.nemo` file, a folder with one, or a repository on the hub."""
    return Source(name, reader, licence, ("*.nemo",))


def checkpoint(source: Source, weights: Weights) -> Path:
    """The one `.nemo` file; raises UserError where there are several."""
    files = files_of(Path(weights.path), source)
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise UserError(f"{weights.path} holds {names}; name the one that {source.reader} is.")
    return files[0]


def facts_of(
    model: str,
    source: Source,
    languages: frozenset[str] | None = None,
    beside: tuple[Weights, ...] = (),
) -> Facts:
    """What a model of NeMo declares, with weights `beside` its own.

    Raises UserError where weights or library lack.
    """
    nemo, weights = library("nemo_toolkit"), resolve(source)
    size_mb = checkpoint(source, weights).stat().st_size // 1_000_000
    return Facts(
        model=model,
        library=nemo,
        licence=weights.licence,
        weights=(weights, *beside),
        languages=languages,
        memory_mb=1500 + 2 * size_mb,  # NeMo itself, and the weights twice while they are restored
        runs_code=True,  # a checkpoint's config names the classes that are built
    )


def restore(model_class: str, source: Source, device: str) -> Any:
    """The model of that class in `nemo.collections.asr.models`, ready to hear.

    Raises UserError where the device is not there or the file is of another kind.
    """
    file = checkpoint(source, resolve(source))
    prepare_torch(device, file.name)
    from nemo.utils import logging as nemo_logging

    nemo_logging.setLevel(logging.ERROR)
    from nemo.collections.asr import models

    try:
        return getattr(models, model_class).restore_from(str(file), map_location=device).eval()
    except Exception as error:
        raise UserError(
            f"{file} can't be restored as a {model_class} ({type(error).__name__}: {error}); name "
            "the model that its section is for."
        ) from error


def padded(clips: Sequence[Waveform]) -> list[Waveform]:
    """Clips of 16 kHz, those under a second with silence at their ends."""
    shortest = round(SHORTEST_S * SAMPLE_RATE)
    return [np.pad(clip, (0, max(0, shortest - len(clip)))) for clip in clips]


def change_decoding(model: Any, changes: Mapping[str, Any], word_confidence: bool) -> None:
    """Decode as the checkpoint says, but for `changes`; tokens keep their confidences.

    A confidence is the highest token probability, scaled so that 0 is chance and 1 certainty.
    """
    from omegaconf import OmegaConf

    confidences = {
        "preserve_frame_confidence": True,
        "preserve_token_confidence": True,
        "preserve_word_confidence": word_confidence,
        "aggregation": "mean",
        "method_cfg": {"name": "max_prob"},
    }
    # A plain copy, because the checkpoint's own config takes no new keys.
    decoding = OmegaConf.create(OmegaConf.to_container(model.cfg.decoding))
    changed = OmegaConf.merge(decoding, {"confidence_cfg": confidences}, dict(changes))
    model.change_decoding_strategy(changed)


def hypothesis_of(
    heard: Any, duration_s: float, language: str | None, word_confidence: bool
) -> Hypothesis:
    """NeMo's hypothesis, with words' times where it has them, and as sure as its words or tokens."""
    times = heard.timestamp["word"] if isinstance(heard.timestamp, dict) else []
    words = [word for word in times if word["word"].strip()]  # two spaces are a word to NeMo
    found = heard.word_confidence if word_confidence else heard.token_confidence
    confidences = [] if found is None else [float(each) for each in found]
    # Around an unknown token NeMo counts words in two ways: then nobody knows whose is whose.
    known = word_confidence and len(confidences) == len(words)
    of_words: Sequence[float | None] = confidences if known else [None] * len(words)
    return Hypothesis(
        text=heard.text.strip(),
        words=rising_words(
            [
                (word["word"], word["start"], word["end"], confidence)
                for word, confidence in zip(words, of_words, strict=True)
            ],
            duration_s,
        ),
        confidence=sum(confidences) / len(confidences) if confidences else None,
        language=language,
    )
