"""A pipeline of `pipelines.yaml` as typed config, and the stages that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from gpa.curation.consensus.given import GIVEN
from gpa.curation.consensus.stage import ConsensusConfig, ConsensusStage
from gpa.curation.denoise import DenoiseConfig, DenoiseStage
from gpa.curation.ingest.stage import IngestConfig
from gpa.curation.normalize import NormalizeConfig, NormalizeStage
from gpa.curation.package.stage import PackageConfig, PackageStage
from gpa.curation.package.verdicts import corrections, read_verdicts
from gpa.curation.punctuate.stage import PunctuateConfig, PunctuateStage
from gpa.curation.quality import QualityConfig, QualityStage
from gpa.curation.segment.stage import SegmentConfig, SegmentStage
from gpa.curation.transcribe.early_exit import early_exits
from gpa.curation.transcribe.stage import TranscribeConfig, transcribe_stages
from gpa.runtime.config import Config, did_you_mean, parse, read_yaml
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Resources
from gpa.runtime.models import Facts
from gpa.runtime.stage import Stage

# The version of RECORDINGS tables, which ingest writes itself: their fingerprint.
RECORDINGS_FINGERPRINT = "2"


class StageRate(Config):
    """What one stage spends on audio that reaches it, and what it hands on."""

    rtf: float = Field(ge=0)  # worker seconds a second of audio
    handed_on: float = Field(1.0, ge=0, le=1)
    mb_an_hour: float = Field(0.0, ge=0)  # that it writes, of audio that reaches it


class ForecastConfig(Config):
    """Rates by the name of what a stage makes; `source` says where they are from."""

    source: str
    stages: dict[str, StageRate]


class CurationResources(Resources):
    """Where the recipe's steps run, and how much goes through them together."""

    wave_hours: float = Field(1000.0, gt=0)  # of audio, its shards written before the next wave
    # Of what lies between the steps, when a wave has its shards; tables: its audio goes.
    keep: Literal["all", "tables"] = "all"


class PipelineConfig(Config):
    """One pipeline: the recipe's steps in their order, and what they run on."""

    description: str
    corpus_licence: str = "unknown"  # carried into the dataset card
    ingest: IngestConfig = IngestConfig()
    normalize: NormalizeConfig = NormalizeConfig()
    denoise: DenoiseConfig
    segment: SegmentConfig
    quality: QualityConfig
    transcribe: TranscribeConfig
    consensus: ConsensusConfig
    punctuate: PunctuateConfig
    package: PackageConfig = PackageConfig()
    resources: CurationResources = CurationResources()
    forecast: ForecastConfig | None = None


def read_pipeline(file: Path, name: str) -> PipelineConfig:
    """The pipeline of that name; raises UserError with the nearest name or key."""
    pipelines = read_yaml(file).get("pipelines")
    if not isinstance(pipelines, dict) or not pipelines:
        raise UserError(f"{file} has no section `pipelines`.")
    if name not in pipelines:
        known = [str(each) for each in pipelines]  # YAML reads some words as numbers
        advice = did_you_mean(name, known, f"known are {', '.join(known)}.")
        raise UserError(f"{file} has no pipeline {name!r}; {advice}")
    config = parse(PipelineConfig, pipelines[name], f"{file}, pipeline {name}")
    check(config, f"{file}, pipeline {name}")
    return config


def check(config: PipelineConfig, where: str) -> None:
    """What no single section can see; raises UserError."""
    asrs = set(config.transcribe.asr)
    if GIVEN in asrs:
        raise UserError(
            f"{where}: no ASR can be called {GIVEN!r}, as a manifest's text is; rename it."
        )
    denoised = config.denoise.model != "none"
    for section in ("segment", "transcribe", "punctuate"):
        if getattr(config, section).hears == "denoised" and not denoised:
            raise UserError(f"{where}: {section}.hears is denoised, but denoise.model is none.")
    for language, panel in config.consensus.panels.items():
        for asr in [*panel.voters, *([panel.verifier] if panel.verifier else [])]:
            if asr not in asrs:
                advice = did_you_mean(asr, list(asrs), "transcribe.asr has it not.")
                raise UserError(
                    f"{where}: consensus.panels.{language} names the ASR {asr!r}; {advice}"
                )
    _check_early_exit(config, where)


def _check_early_exit(config: PipelineConfig, where: str) -> None:
    """That what transcribe skips is what consensus drops; raises UserError."""
    early_exit, consensus = config.transcribe.early_exit, config.consensus
    if early_exit is None:
        return
    if early_exit.pwer < consensus.max_pwer:
        raise UserError(
            f"{where}: transcribe.early_exit.pwer is {early_exit.pwer:g}, below consensus.max_pwer, "
            f"so it would skip what may be kept; set it to {consensus.max_pwer:g} or more."
        )
    if consensus.max_outlier_distance is not None:
        raise UserError(
            f"{where}: transcribe.early_exit proves nothing for a panel that may leave a voter out; "
            "take it out, or consensus.max_outlier_distance."
        )
    for language, panel in consensus.panels.items():
        voters = len(panel.with_given(consensus.given).voters)
        if voters > early_exit.largest_panel:
            raise UserError(
                f"{where}: consensus.panels.{language} has {voters} voters; set "
                f"transcribe.early_exit.largest_panel to that or more (the later ASRs then run again)."
            )
    if consensus.identifier not in (None, config.transcribe.identifier):
        raise UserError(
            f"{where}: with transcribe.early_exit, consensus.identifier can't be another ASR than "
            "transcribe.identifier: leave it out."
        )


def build_stages(config: PipelineConfig) -> list[Stage]:
    """The stages between ingest and package, in the order in which they run; none asks a model."""
    versions = ["normalized"]
    stages: list[Stage] = [NormalizeStage("normalized", config.normalize, ["recordings"])]
    if config.denoise.model != "none":
        stages.append(DenoiseStage("denoised", config.denoise, ["normalized"]))
        versions.append("denoised")
    stages += [
        SegmentStage("utterances", config.segment, versions),
        QualityStage("quality", config.quality, ["utterances"]),
    ]
    identifier = config.consensus.identifier or config.transcribe.identifier
    consensus = config.consensus.model_copy(update={"identifier": identifier})
    spared = early_exits(config.transcribe.early_exit, config.transcribe.order, consensus)
    transcribers = transcribe_stages(config.transcribe, spared)
    # Only those that have a say: an ASR outside all panels changes no decision.
    voices = [f"hypotheses/{asr}" for asr in consensus.asrs()]
    judged = ["quality"] if consensus.quality.active else []
    stages += [
        *transcribers,
        ConsensusStage("consensus", consensus, ["recordings", "utterances", *judged, *voices]),
        PunctuateStage("alignment", config.punctuate, ["utterances", "consensus", *voices]),
    ]
    return stages


def package_stage(config: PipelineConfig, stages: list[Stage]) -> Stage:
    """The last stage, which writes the models of all others into every KEY.json.

    Raises UserError where a model is missing (`doctor.examine` says all that are), or the file of
    corrections can't be read.
    """
    file = config.package.corrections
    corrected = corrections(read_verdicts(file)) if file else {}
    heard = [stage.name for stage in stages if stage.step == "transcribe"]
    inputs = ["recordings", "utterances", "quality", *heard, "consensus", "alignment"]
    return PackageStage("packaged", config.package, inputs, describe(models(stages)), corrected)


def models(stages: list[Stage]) -> dict[str, Facts]:
    """All models of a pipeline, by `<step>` or `<step>/<name>`."""
    return {
        f"{stage.step}/{name}": facts for stage in stages for name, facts in stage.models().items()
    }


def describe(facts: Mapping[str, Facts]) -> dict[str, str]:
    """Models as KEY.json names them."""
    return {name: f"{fact.model} ({fact.library})" for name, fact in facts.items()}


def model_table(facts: Mapping[str, Facts]) -> dict[str, dict[str, Any]]:
    """Models as `run.json` and reports name them: version, licence, and the weights by file."""
    return {
        name: {
            "model": fact.model,
            "library": fact.library,
            "licence": fact.licence,
            "weights": [
                {
                    "name": w.name,
                    "origin": w.origin,
                    "revision": w.revision,
                    "sha256": w.sha256,
                    "files": dict(w.files),
                    "licence": w.licence,
                }
                for w in fact.weights
            ],
        }
        for name, fact in facts.items()
    }
