"""The section `eval` of pipelines.yaml."""

from __future__ import annotations

from pathlib import Path

from gpa.eval.serving.latency import LatencyConfig
from gpa.eval.serving.limits import ServeConfig
from gpa.runtime.config import parse, read_yaml
from gpa.train.generation.language_model import GenerationConfig
from gpa.train.judges import JudgesConfig


class EvalConfig(JudgesConfig):
    """How answers are generated, judged, served, and timed."""

    generation: GenerationConfig
    serve: ServeConfig = ServeConfig()
    latency: LatencyConfig = LatencyConfig()


def read_config(file: Path) -> EvalConfig:
    """The section `eval`; raises UserError."""
    return parse(EvalConfig, read_yaml(file).get("eval"), f"{file}, section eval")
