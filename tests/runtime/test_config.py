"""Config: a misspelt key names the nearest right one, and nothing runs on a bad file."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpa.runtime.config import Config, digest, parse, read_yaml
from gpa.runtime.errors import UserError


class Panel(Config):
    voters: list[str]
    max_distance: float = 0.5


class Settings(Config):
    max_pwer: float = 0.15
    panels: dict[str, Panel] = {}


def test_a_misspelt_key_names_the_nearest_right_one():
    with pytest.raises(UserError, match=r"unknown key 'max_pwr', did you mean 'max_pwer'\?"):
        parse(Settings, {"max_pwr": 0.1}, "pipelines.yaml")


def test_a_misspelt_key_inside_a_mapping_of_sections_is_found_too():
    content = {"panels": {"en": {"voters": [], "max_distanc": 1}}}
    with pytest.raises(UserError, match=r"'panels.en.max_distanc', did you mean 'max_distance'\?"):
        parse(Settings, content, "pipelines.yaml")


def test_a_wrong_type_says_where_and_what():
    with pytest.raises(UserError, match=r"pipelines.yaml: max_pwer: .*number"):
        parse(Settings, {"max_pwer": "low"}, "pipelines.yaml")


def test_a_missing_key_is_named():
    with pytest.raises(UserError, match=r"key 'panels.en.voters' is missing"):
        parse(Settings, {"panels": {"en": {}}}, "pipelines.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [("a: [", "not valid YAML"), ("- 1", "must hold a mapping"), ("", "must hold a mapping")],
)
def test_a_file_that_is_no_config_says_so(tmp_path: Path, text: str, says: str):
    file = tmp_path / "pipelines.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=says):
        read_yaml(file)


def test_a_missing_file_says_what_to_do(tmp_path: Path):
    with pytest.raises(UserError, match="--config"):
        read_yaml(tmp_path / "none.yaml")


def test_a_digest_depends_on_content_and_not_on_the_order_of_keys():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_a_key_that_stands_twice_is_named_with_both_lines(tmp_path: Path):
    file = tmp_path / "pipelines.yaml"
    file.write_text("a:\n  seed: 1\n  other: 2\n  seed: 3\n")
    with pytest.raises(UserError, match=r"line 4: the key 'seed' stands in line 2 too"):
        read_yaml(file)


def test_norwegian_is_a_language_and_true_is_true(tmp_path: Path):
    file = tmp_path / "pipelines.yaml"
    file.write_text("no: &panel {voters: [no, true]}\nsv: *panel\nda: {<<: *panel, on: off}\n")
    assert read_yaml(file) == {
        "no": {"voters": ["no", True]},
        "sv": {"voters": ["no", True]},
        "da": {"voters": ["no", True], "on": "off"},
    }
