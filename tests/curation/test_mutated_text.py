"""Mutated configs and manifests: what is wrong with them is a sentence, never a traceback.

Each is read with a limit on memory and time.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gpa.curation.ingest.corpus import RawFile, find
from gpa.curation.ingest.stage import chunks
from gpa.curation.pipeline import build_stages, read_pipeline
from gpa.runtime.errors import UserError
from tests.limits import limited
from tests.runs import ROOT

MEMORY_BYTES = 256 << 20
FILE_S = 10
PIPELINES = (ROOT / "pipelines.yaml").read_bytes()
# All that Python can hold, lone surrogates too: JSON can write them.
any_text = st.text(st.characters(exclude_categories=()))
any_scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    any_text,
    st.sampled_from(["", "en", "../x"]),
)
any_value = st.recursive(
    any_scalar, lambda inner: st.lists(inner) | st.dictionaries(any_text, inner), max_leaves=5
)


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Some bytes flipped, lost, or taken from elsewhere."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 4, 20))):
        at = draw.randrange(len(changed))
        match draw.randrange(4):
            case 0:
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                changed[at] = draw.choice(b"\0\t\n\r\"'{}[]:,&*!|>%@`#-\xff")
            case 2:
                del changed[at : at + draw.randrange(30)]
            case 3:
                other = draw.randrange(len(changed))
                changed[at:at] = changed[other : other + draw.randrange(60)]
    return bytes(changed)


def read_config(data: bytes, folder: Path) -> str:
    """What becomes of a config; anything but a UserError ends the test."""
    file = folder / "pipelines.yaml"
    file.write_bytes(data)
    with limited(MEMORY_BYTES, FILE_S):
        try:
            build_stages(read_pipeline(file, "laptop"))
        except UserError:
            return "refused"
    return "accepted"


@pytest.mark.parametrize("seed", range(5))
def test_a_mutated_config_is_read_or_refused(tmp_path: Path, seed: int):
    draw = random.Random(seed)
    # Only the section of the pipelines: most bytes of the others are of no concern to them.
    whole = PIPELINES[: PIPELINES.index(b"\ntokenize:")]
    outcomes = Counter(read_config(mutated(whole, draw), tmp_path) for _ in range(40))
    assert outcomes["refused"] > 10


@settings(max_examples=100)
@given(st.randoms(use_true_random=False), any_value)
def test_a_config_with_any_value_anywhere_is_read_or_refused(draw: random.Random, value: Any):
    content = yaml.safe_load(PIPELINES)
    section: Any = content["pipelines"]["laptop"]
    while True:
        key = draw.choice(sorted(section))
        if not isinstance(section[key], dict) or not section[key] or draw.random() < 0.3:
            break
        section = section[key]
    section[key] = value
    with tempfile.TemporaryDirectory() as folder:
        read_config(yaml.safe_dump(content).encode("utf-8", "surrogatepass"), Path(folder))


# Each line ten times the one before, so that nine of them stand for a billion values.
BOMB = "bomb:\n  0: &b0 [x]\n" + "".join(
    f"  {n}: &b{n} [{', '.join([f'*b{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    "section",
    [
        pytest.param("[" * 100_000, id="deep lists"),
        pytest.param("{a: " * 5_000, id="deep mappings"),
        pytest.param("{description: *b9, denoise: {model: *b9}}", id="aliases of aliases"),
        pytest.param("&x {denoise: *x, segment: *x}", id="a section in itself"),
        pytest.param("{description: " + "9" * 10_000 + "}", id="a long number"),
        pytest.param("{description: 2020-13-01}", id="a thirteenth month"),
        pytest.param("{? [a] : b}", id="a list as key"),
        pytest.param("{1: 2, null: 3, true: 4}", id="keys that are no words"),
    ],
)
def test_a_hostile_config_is_refused(tmp_path: Path, section: str):
    config = f"{BOMB if '*b9' in section else ''}pipelines:\n  laptop: {section}"
    assert read_config(config.encode(), tmp_path) == "refused"


def test_pipelines_whose_names_are_numbers_are_listed(tmp_path: Path):
    assert read_config(b"pipelines: {1: {}, null: {}, true: {}}", tmp_path) == "refused"


def read_manifest(data: bytes, folder: Path, name: str) -> list[RawFile]:
    """The rows of a manifest, as ingest writes them down; none where it is refused."""
    manifest = folder / name
    manifest.write_bytes(data)
    with limited(MEMORY_BYTES, FILE_S):
        try:
            files = find(str(manifest))
        except UserError:
            return []
        chunks(files)
    return files


JSONL = b"".join(
    json.dumps({"path": f"audio/{n} \xe4.wav", "language": "en", "duration": n + 1}).encode()
    + b"\n"
    for n in range(5)
)
CSV = (
    b"path,language,speaker\n" + b'"a, b.wav",en,anna\nc.wav,,\n"new\nline.wav",zh,"b ""x"""\n'
    b'"newer\nline.wav",zh,"b ""x"""\n'
)


@pytest.mark.parametrize(("name", "whole"), [("m.jsonl", JSONL), ("m.csv", CSV)])
def test_a_mutated_manifest_is_read_or_refused(tmp_path: Path, name: str, whole: bytes):
    draw = random.Random(name)
    rows = [len(read_manifest(mutated(whole, draw), tmp_path, name)) for _ in range(1000)]
    # Neither is everything refused nor was nothing harmed.
    assert 50 < sum(count > 0 for count in rows) < 950


@given(
    st.lists(
        st.fixed_dictionaries({"path": any_value}, optional={"language": any_value, "x": any_value})
    )
)
def test_a_manifest_with_any_value_anywhere_is_read_or_refused(lines: list[dict[str, Any]]):
    data = "\n".join(json.dumps(line) for line in lines).encode()
    with tempfile.TemporaryDirectory() as folder:
        read_manifest(data, Path(folder), "m.jsonl")


@given(st.lists(st.lists(any_text, max_size=4)))
def test_a_table_of_any_text_is_read_or_refused(lines: list[list[str]]):
    data = "\n".join(["path,language", *(",".join(line) for line in lines)])
    with tempfile.TemporaryDirectory() as folder:
        read_manifest(data.encode("utf-8", "surrogatepass"), Path(folder), "m.csv")
