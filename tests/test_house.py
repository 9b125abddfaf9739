"""The layout of the house: rooms and floors, which imports go one way, and what the docs say of it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from gpa.curation.package.stage import PackageStage
from gpa.curation.pipeline import build_stages, read_pipeline
from tests.runs import ROOT

# From the ground up: nothing imports from a place above its own.
ROOMS = ("runtime", "curation", "tokenize", "train", "eval")
STEPS = (
    *("ingest", "normalize", "denoise", "segment", "quality"),
    *("transcribe", "consensus", "punctuate", "package"),
)
FLOORS = (
    ("text", "decoding", "audio", "tables", "spans", "intervals"),
    ("models",),
    ("hypotheses",),
    STEPS,
    ("pipeline", "doctor"),
    ("report", "curated", "selection", "shards", "waves"),
    ("close", "run"),
    ("prepare", "explore", "export", "bench", "cli"),
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}

FILES = {
    ".".join(("gpa", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): file
    for room in ROOMS
    for file in sorted((ROOT / room).rglob("*.py"))
}


def imported(file: Path) -> Iterator[str]:
    """Modules of the house that a file imports: inside functions and under TYPE_CHECKING, too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names):
                yield from (each.name for each in names if each.name in FILES)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                if module.split(".")[0] == "gpa":
                    inner = [f"{module}.{each.name}" for each in names]
                    yield from (name if name in FILES else module for name in inner)
            case ast.ImportFrom():
                raise AssertionError(f"{file}: an import is relative; name it from gpa on")


IMPORTS = {module: sorted(set(imported(file))) for module, file in FILES.items()}


def test_imports_are_read_inside_functions_too():
    assert "gpa.curation.run" in IMPORTS["gpa.curation.cli"]
    assert sum(map(len, IMPORTS.values())) > len(FILES)


def test_rooms_and_the_floors_of_curation_import_downward_only():
    upward = []
    for module, others in IMPORTS.items():
        room, *inside = module.split(".")[1:]
        for other in others:
            other_room, *other_inside = other.split(".")[1:]
            above = ROOMS.index(other_room) > ROOMS.index(room)
            if room == other_room == "curation" and inside and other_inside:
                above = FLOOR[other_inside[0]] > FLOOR[inside[0]]
            if above:
                upward.append(f"{module} imports {other}")
    assert upward == []


def test_everything_in_curation_has_its_floor():
    there = {
        path.stem
        for path in (ROOT / "curation").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert there - {"__init__"} == FLOOR.keys()


def test_no_two_modules_import_each_other_in_a_circle():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_folder_with_code_is_packaged():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {file.parent.relative_to(ROOT).parts for file in FILES.values()}
    assert {".".join(("gpa", *parts)) for parts in folders} == {
        *project["tool"]["setuptools"]["packages"]
    }


def test_no_folder_is_crowded_and_no_file_is_long():
    crowded = [
        folder
        for folder in {file.parent for file in FILES.values()}
        if len([*folder.glob("*.py")]) > 20
    ]
    assert crowded == []
    long = [
        module
        for module, file in FILES.items()
        if len(file.read_text(encoding="utf-8").splitlines()) > 400
    ]
    assert long == []


def test_curation_lists_its_steps_in_the_order_in_which_they_run():
    stages = build_stages(read_pipeline(ROOT / "pipelines.yaml", "laptop"))
    run = ["ingest", *dict.fromkeys(stage.step for stage in stages), PackageStage.step]
    listing = ast.get_docstring(ast.parse(FILES["gpa.curation"].read_text(encoding="utf-8")))
    listed = re.findall(r"^(\d)\. (\w+) +\S", listing or "", re.MULTILINE)
    assert listed == [(str(number), step) for number, step in enumerate(run, start=1)]
    assert tuple(run) == STEPS


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))],
    ids=lambda page: page.name,
)
def test_files_that_the_docs_name_exist(page: Path):
    text = page.read_text(encoding="utf-8")
    places = "|".join((*ROOMS, "tests", "docs"))
    named = re.findall(rf"(?<![\w/.-])(?:{places})/[\w./-]*\w\.(?:py|md|yaml)\b", text)
    modules = re.findall(r"python -m ((?:gpa|tests)\.[\w.]+)", text)
    named += [f"{module.removeprefix('gpa.').replace('.', '/')}.py" for module in modules]
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_every_page_of_the_docs_is_in_their_index():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"\((?:\.\./)?([\w.]+\.md)\)", index))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"} <= listed


def test_tokenize_at_the_root_is_the_standard_librarys():
    code = "import tokenize, inspect, linecache; print(tokenize.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()).parent == Path(sysconfig.get_paths()["stdlib"])
    assert not (ROOT / "tokenize" / "__init__.py").exists()


def test_every_room_imports_under_gpa():
    import gpa.curation
    import gpa.eval
    import gpa.runtime
    import gpa.tokenize.bicodec
    import gpa.train

    assert Path(gpa.curation.__file__ or "").parent == ROOT / "curation"
    assert Path(gpa.tokenize.bicodec.__file__ or "").parent == ROOT / "tokenize" / "bicodec"


def test_nothing_names_a_path_of_the_machine_it_was_written_on():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    home = "/" + "work/"
    offenders = [
        name
        for name in tracked
        if (ROOT / name).suffix in {".py", ".md", ".yaml", ".toml", ".txt", ""}
        and (ROOT / name).is_file()
        and home in (ROOT / name).read_text(encoding="utf-8", errors="ignore")
    ]
    assert offenders == []
