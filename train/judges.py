"""Who listens to what was spoken: for the tables of evaluation, and for the rewards of training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gpa.curation.audio import Waveform
from gpa.curation.models.protocols import ASR
from gpa.curation.transcribe.stage import ASRSection, build_asr
from gpa.runtime.config import Config
from gpa.runtime.errors import UserError
from gpa.tokenize.clips import SAMPLE_RATE
from gpa.train.similarity import EncoderSection, GE2EConfig, SpeakerEncoder, load_encoder


class JudgesConfig(Config):
    """`judges` has an ASR a language; `speakers` is the encoder that compares voices."""

    judges: dict[str, ASRSection] = {}
    speakers: EncoderSection = GE2EConfig()


@dataclass(frozen=True)
class Judges:
    """An ASR a language, which writes down what was spoken, and an encoder of voices."""

    by_language: Mapping[str, ASR]
    encoder: SpeakerEncoder

    @classmethod
    def load(cls, config: JudgesConfig, languages: Iterable[str], section: str) -> Judges:
        """Load those of the languages; raises UserError where `section` has none of one."""
        judges = load_judges(config.judges, languages, section)
        return cls(judges, load_encoder(config.speakers))


def load_judges(
    sections: Mapping[str, ASRSection], languages: Iterable[str], section: str
) -> dict[str, ASR]:
    """Load the ASRs of the languages; raises UserError where `section` has none of one."""
    judges = {}
    for language in sorted(languages):
        if language not in sections:
            raise UserError(f"{section}.judges names no ASR that judges {language!r}; add one.")
        judges[language] = build_asr(sections[language])
        judges[language].load()
    return judges


def hear(judge: ASR, waveform: Waveform, language: str) -> str:
    """What the judge writes down; nothing of an empty waveform. Its failure is an error."""
    if not waveform.size:
        return ""
    (result,) = judge.transcribe([waveform], SAMPLE_RATE, [language])
    if isinstance(result, Exception):
        raise UserError(f"The judge failed ({type(result).__name__}: {result}).") from result
    return result.text
