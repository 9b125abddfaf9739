"""Typed configuration read from `pipelines.yaml`.

Every section of the file is a pydantic model that stands beside the code it configures. A
misspelt key is an error that names the nearest right one, so a bad config never starts a run.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from gpa.runtime.errors import UserError

# Values in a config file, its aliases written out; one of a few lines can stand for billions.
MOST_VALUES = 100_000


class Config(BaseModel):
    """Base of every section: immutable, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


ConfigType = TypeVar("ConfigType", bound=Config)


def digest(value: Any) -> str:
    """Twelve hexadecimal digits that name a JSON-serialisable value."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def read_text(path: Path) -> str:
    """A file in UTF-8, a byte order mark left out; raises UserError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read: {error}.") from None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises UserError where there is none."""
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise UserError(f"{path} can't be read: {error}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold an object, not {type(content).__name__}.")
    return content


class _Loader(yaml.SafeLoader):
    """YAML whose keys are said once, and where only `true` and `false` are booleans.

    The latter is YAML 1.2's rule: `no` is Norwegian.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[Any, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                if key.value in first:
                    raise _DuplicateKeyError(key.value, line, first[key.value])
                first[key.value] = line
        return super().construct_mapping(node, deep)


class _DuplicateKeyError(Exception):
    """A key of a mapping that stands there twice, with both lines."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping at the top of a YAML file; raises UserError where there is none."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
        too_large = _values(content, {}) > MOST_VALUES
    except FileNotFoundError:
        raise UserError(f"There is no config file {path}; name one with --config.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read: {error}.") from None
    except (yaml.YAMLError, ValueError) as error:  # the latter of a 13th month and the like
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None
    except _DuplicateKeyError as error:
        key, line, first = error.args
        raise UserError(
            f"{path}, line {line}: the key {key!r} stands in line {first} too; take one of them out."
        ) from None
    except RecursionError:
        raise UserError(f"{path} nests its values too deeply.") from None
    if too_large:
        raise UserError(
            f"{path} has more than {MOST_VALUES:,} values, with its aliases written out."
        )
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a mapping of sections, not {type(content).__name__}.")
    return content


def _values(content: Any, counted: dict[int, int]) -> int:
    """How many values there are, aliases written out; `counted` has those of parts by id."""
    if id(content) not in counted:
        counted[id(content)] = MOST_VALUES  # where a part holds itself, there is no end
        match content:
            case dict():
                parts: Iterable[Any] = content.values()
            case list():
                parts = content
            case _:
                parts = ()
        counted[id(content)] = 1 + sum(_values(part, counted) for part in parts)
    return counted[id(content)]


def parse(schema: type[ConfigType], content: Any, where: str) -> ConfigType:
    """Validate `content`; raises UserError that says what is wrong at which key.

    `where` names the place for the reader, such as "pipelines.yaml, pipeline laptop".
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        problems = [_explain(schema, problem) for problem in error.errors()]
        raise UserError(f"{where}: {'; '.join(problems)}.") from None


def parse_each(schema: type[ConfigType], file: Path) -> dict[str, ConfigType]:
    """The sections at the top of a YAML file, each of the same kind; raises UserError."""
    return {key: parse(schema, each, f"{file}, {key}") for key, each in read_yaml(file).items()}


def did_you_mean(name: str, known: Sequence[str], otherwise: str, cutoff: float = 0.6) -> str:
    """What is said of a name that nobody knows: the nearest that is `known`, or `otherwise`."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return f"did you mean {nearest[0]!r}?" if nearest else otherwise


def _explain(schema: type[BaseModel], problem: Any) -> str:
    """One of pydantic's problems in words, with the nearest right key for a misspelt one."""
    location = [str(part) for part in problem["loc"]]
    dotted = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = sorted(_keys_beside(schema, location))
        advice = did_you_mean(location[-1], known, f"known are {', '.join(known)}", cutoff=0.5)
        return f"unknown key {dotted!r}, {advice}"
    if problem["type"] == "missing":
        return f"key {dotted!r} is missing"
    return f"{dotted or 'the section'}: {problem['msg']}"


def _keys_beside(schema: type[BaseModel], location: list[str]) -> set[str]:
    """Names of the keys that `schema` allows where `location` stands."""
    sections: list[type[BaseModel]] = [schema]
    for part in location[:-1]:
        inner = [
            found
            for section in sections
            if part in section.model_fields
            for found in _sections(section.model_fields[part].annotation)
        ]
        # A part that is no field is a list index, a dictionary's key or a union's tag: stay here.
        sections = inner or sections
    return {name for section in sections for name in section.model_fields}


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """Config classes inside a type, such as those of `dict[str, A | B]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [
        section
        for argument in getattr(annotation, "__args__", ())
        for section in _sections(argument)
    ]
