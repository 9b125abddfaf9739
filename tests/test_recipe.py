"""docs/recipe.md names functions, keys and tests that exist, and the paper's numbers are set."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from gpa.curation.pipeline import PipelineConfig, read_pipeline
from gpa.runtime.config import read_yaml
from gpa.tokenize.run import TokenizeConfig
from gpa.train.command import read_config
from gpa.train.config import TrainConfig
from tests.runs import ROOT

COLUMNS = ("said", "where", "key", "test", "otherwise")
RECIPE = read_yaml(ROOT / "pipelines.yaml")


def table() -> list[dict[str, str]]:
    """The rules of docs/recipe.md, a mapping by COLUMNS each."""
    text = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    found = []
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] != "the paper" and set(line) != set("|-"):
            found.append(dict(zip(COLUMNS, cells, strict=True)))
    return found


RULES = table()
ALL_RULES = pytest.mark.parametrize("rule", RULES, ids=[rule["said"][:40] for rule in RULES])


@cache
def defined(path: str) -> frozenset[str]:
    """Functions and classes of a file, those inside a class as `Class.function`."""
    names = set()

    def visit(body: list[ast.stmt], within: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                names.add(within + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{within}{node.name}.")

    visit(ast.parse((ROOT / path).read_text(encoding="utf-8")).body, "")
    return frozenset(names)


def is_written(keys: list[str], content: Any) -> bool:
    """Whether `pipelines.yaml` has the key."""
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            return False
        content = content[key]
    return True


def is_field(keys: list[str], kind: Any) -> bool:
    """Whether a config class has the key; names that are anybody's choice are no fields."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if not keys:
        return True
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(keys[0])
        return field is not None and is_field(keys[1:], field.annotation)
    if get_origin(kind) is dict:
        name, value = get_args(kind)
        return (
            get_origin(name) is Literal and keys[0] in get_args(name) and is_field(keys[1:], value)
        )
    return any(is_field(keys, option) for option in get_args(kind))


def is_key(path: str) -> bool:
    """Whether `pipelines.*.<key>`, or the path of a key below it, sets anything."""
    section, *keys = path.split(".")
    if section == "pipelines" and keys[0] == "*":
        return is_field(keys[1:], PipelineConfig)
    kind = {"tokenize": TokenizeConfig, "train": TrainConfig}.get(section)
    return is_written([section, *keys], RECIPE) or (kind is not None and is_field(keys, kind))


def quoted(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def test_the_table_has_the_rules_of_every_part():
    assert len(RULES) > 30
    told = " ".join(rule["said"] for rule in RULES)
    for rule in ("0.6", "pWER < 15 %", "300 ms", "50 ms", "8,192", "16,384", "ASR", "TTS", "VC"):
        assert rule in told
    for folder in ("curation", "tokenize", "train"):
        assert any(rule["where"].startswith(f"`{folder}/") for rule in RULES)


@ALL_RULES
def test_every_column_says_something(rule: dict[str, str]):
    assert all(rule.values())
    assert all(quoted(rule[column]) for column in ("where", "test"))
    assert rule["key"] == "fixed" or quoted(rule["key"])


@ALL_RULES
def test_functions_are_where_the_table_says(rule: dict[str, str]):
    told = [place for cell in ("where", "otherwise") for place in quoted(rule[cell])]
    for place in told:
        if ": " in place:
            path, name = place.split(": ")
            assert name in defined(path), place
    assert all(": " in place for place in quoted(rule["where"]))


@ALL_RULES
def test_keys_are_keys_of_the_config(rule: dict[str, str]):
    for key in quoted(rule["key"]):
        assert is_key(key), key


@ALL_RULES
def test_tests_are_where_the_table_says(rule: dict[str, str]):
    for place in quoted(rule["test"]):
        path, _, name = place.partition("::")
        assert name.split("::")[-1].startswith("test_"), place
        assert name.replace("::", ".") in defined(path), place


@pytest.mark.parametrize(
    "path",
    [
        "pipelines.*.normalize.peek",
        "pipelines.*.consensus.panels.en.verifier",  # of some pipelines: one must be named
        "pipelines.lapdog.normalize",
        "train.phases.rlhf.supervise",
        "tokenize.tokenizers.published.mimi",
    ],
)
def test_what_is_no_key_is_found_out(path: str):
    assert not is_key(path)


@pytest.mark.parametrize("name", RECIPE["pipelines"])
def test_the_papers_numbers_are_those_of_every_pipeline(name: str):
    config = read_pipeline(ROOT / "pipelines.yaml", name)
    assert config.normalize.peak == config.segment.peak == 0.6
    assert config.consensus.max_pwer == 0.15
    assert config.punctuate.comma_pause_ms == 300
    assert config.punctuate.fluent_pause_ms == 50


def test_fine_tuning_has_the_settings_of_the_authors_script():
    settings = read_config(ROOT / "pipelines.yaml").phases["sft"]
    assert {settings.learning_rate[size] for size in ("0.3b", "3b")} == {1e-5}
    assert (settings.warmup_share, settings.weight_decay, settings.beta2) == (0.005, 0.005, 0.95)
