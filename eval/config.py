"""The section `eval` of pipelines.yaml."""

from __future__ import annotations

from pathlib import Path

from gpa.curation.transcribe.stage import ASRSection
from gpa.eval.benchmarks.similarity import EncoderSection, GE2EConfig
from gpa.eval.generation.language_model import GenerationConfig
from gpa.eval.serving.latency import LatencyConfig
from gpa.eval.serving.limits import ServeConfig
from gpa.runtime.config import Config, parse, read_yaml


class EvalConfig(Config):
    """How answers are generated, judged, served, and timed.

    `judges` has an ASR a language, which writes down what was spoken; `speakers` is the encoder
    that compares voices.
    """

    generation: GenerationConfig
    judges: dict[str, ASRSection] = {}
    speakers: EncoderSection = GE2EConfig()
    serve: ServeConfig = ServeConfig()
    latency: LatencyConfig = LatencyConfig()


def read_config(file: Path) -> EvalConfig:
    """The section `eval`; raises UserError."""
    return parse(EvalConfig, read_yaml(file).get("eval"), f"{file}, section eval")
