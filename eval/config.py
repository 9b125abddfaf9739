"""The section `eval` of pipelines.yaml."""

from __future__ import annotations

from pathlib import Path

from gpa.eval.generate import GenerationConfig
from gpa.eval.latency import LatencyConfig
from gpa.eval.limits import ServeConfig
from gpa.runtime.config import Config, parse, read_yaml


class EvalConfig(Config):
    """How answers are generated, served, and timed."""

    generation: GenerationConfig
    serve: ServeConfig = ServeConfig()
    latency: LatencyConfig = LatencyConfig()


def read_config(file: Path) -> EvalConfig:
    """The section `eval`; raises UserError."""
    return parse(EvalConfig, read_yaml(file).get("eval"), f"{file}, section eval")
