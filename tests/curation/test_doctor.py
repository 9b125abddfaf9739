"""The doctor: what it says of weights that are missing, and of weights that could run code."""

from __future__ import annotations

import ast

import pytest

from gpa.curation.doctor import describe, missing
from gpa.runtime.models import Facts, Source
from tests.runs import ROOT

ROOMS = ("runtime", "curation", "tokenize", "train", "eval")


@pytest.mark.parametrize("gated", [False, True])
def test_missing_weights_are_named_with_their_licence_and_the_remedy(gated: bool):
    source = Source("owner/model", "Model", "CC-BY-4.0", files=("model-*",), gated=gated)
    said = missing(source, offline=True)
    assert said.startswith("The weights owner/model of Model (CC-BY-4.0) are not on this machine")
    assert "`gpa fetch` gets them" in said
    assert ("accepted their terms" in said) == gated


@pytest.mark.parametrize("runs_code", [False, True])
def test_weights_that_can_run_code_are_said_to(runs_code: bool):
    facts = Facts("a model", "a library 1.0", "MIT", (), runs_code=runs_code)
    assert ("trust their authors" in describe(facts)) == runs_code


def calls_of_torch_load():
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                    options = {each.arg: ast.unparse(each.value) for each in node.keywords}
                    yield f"{file.relative_to(ROOT)}:{node.lineno}", options


def test_every_checkpoint_is_read_as_tensors_alone():
    read = dict(calls_of_torch_load())
    assert read
    for place, options in read.items():
        assert options.get("weights_only") == "True", place
