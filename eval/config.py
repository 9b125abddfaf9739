"""The section `eval` of pipelines.yaml."""

from __future__ import annotations

from pathlib import Path

from gpa.eval.generate import GenerationConfig
from gpa.runtime.config import Config, parse, read_yaml


class EvalConfig(Config):
    """How answers are generated."""

    generation: GenerationConfig


def read_config(file: Path) -> EvalConfig:
    """The section `eval`; raises UserError."""
    return parse(EvalConfig, read_yaml(file).get("eval"), f"{file}, section eval")
