"""A corpus of names that a shell, a page or a path would obey: to a run they are only names."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.curation.report.reader import Reader
from tests.curation.sounds import tone, wav
from tests.faults import light
from tests.faults.tones import MARKUP
from tests.in_process import gpa, light_runs
from tests.runs import ROOT, pipelines

PWNED = "pwned"
SCRIPT = "<script>alert(1)</script>.flac"
NAMES = (
    "-rf.flac",
    "--out=x.flac",
    "; rm -rf x.flac",
    f"$(touch {PWNED}).flac",
    f"`touch {PWNED}`.flac",
    f"| touch {PWNED} &.flac",
    "new\nline\r\ttab\x1b[31m.flac",
    "quo\"te's \\ %s {0} *?.flac",
    SCRIPT,  # its slash makes a folder of it, as does the next one's
    "[bold]of a terminal[/red].flac",
    '"><img src=x onerror=alert(1)>.flac',
    "{{ 7 * 7 }} & | `markdown` ![](x).flac",
    "zip::memory.flac",
    "ñ 空 \u202e.flac",
    "n" * 250 + ".flac",
)
HIDDEN = (".hidden.flac", "...flac")
NOT_UTF8 = b"not \xff utf-8.flac"
LINK, SELF = "link out.flac", "link to itself.flac"
ARCHIVES = ("archive.tar.flac", "archive.zip.wav")
INSIDE = f"../{PWNED}.wav"


def write(folder: Path, outside: Path) -> None:
    """Recordings by all these names, and what is no recording."""
    talks = folder.parent / "talks"
    talks.mkdir()
    light.write_corpus(talks, len(NAMES) + len(HIDDEN) + 2, seed=3)
    whole = iter(sorted(talks.iterdir()))
    for name in (*NAMES, *HIDDEN):
        (folder / name).parent.mkdir(exist_ok=True)
        next(whole).rename(folder / name)
    next(whole).rename(folder / os.fsdecode(NOT_UTF8))
    next(whole).rename(outside)
    (folder / LINK).symlink_to(outside)
    (folder / SELF).symlink_to(folder / SELF)
    (folder / "loop").symlink_to(folder)
    inside = wav(tone())
    with tarfile.open(folder / ARCHIVES[0], "w") as tar:
        member = tarfile.TarInfo(INSIDE)
        member.size = len(inside)
        tar.addfile(member, io.BytesIO(inside))
    with zipfile.ZipFile(folder / ARCHIVES[1], "w") as archive:
        archive.writestr(INSIDE, inside)


def files_below(folder: Path) -> dict[str, bytes | None]:
    """Every file and its bytes; of links the name alone."""
    paths = [Path(at) / name for at, _, names in os.walk(folder) for name in names]
    return {str(path): None if path.is_symlink() else path.read_bytes() for path in paths}


@dataclass(frozen=True)
class Curated:
    there: Path  # the folder of the corpus and of what lies beside it
    before: Mapping[str, bytes | None]  # its files before the run
    out: Path
    printed: str


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Curated:
    top = tmp_path_factory.mktemp("hostile")
    # The folder's name is as bad as the files'; the run works in a folder where it could do harm.
    corpus = top / "there" / "[bold]" / f"corpus [/red] $(touch {PWNED})"
    corpus.mkdir(parents=True)
    write(corpus, top / "there" / "outside.flac")
    before = files_below(top / "there")
    out = top / "[bold]" / f"out [/red] `touch {PWNED}`"
    curate = ("curate", "--corpus", corpus, "--out", out)
    with light_runs(out):
        printed = gpa(*curate, "--config", pipelines(top, light.settings))
    assert "The books balance" in printed
    assert "the books balance" in gpa("verify", out)
    return Curated(top / "there", before, out, printed)


def test_every_file_is_in_a_table(curated: Curated):
    files = pq.read_table(curated.out / "corpus.parquet").to_pylist()
    states = {file["path"]: (file["state"], file["reason"]) for file in files}
    assert len(states) == len(files)
    assert states == {
        **dict.fromkeys((*NAMES, LINK), ("recording", None)),
        **dict.fromkeys(HIDDEN, ("ignored", None)),
        **dict.fromkeys((*ARCHIVES, SELF, r"not \xff utf-8.flac"), ("rejected", "unreadable")),
    }
    for file in files:
        assert (file["detail"] is None) == (file["state"] == "recording"), file


def test_what_is_kept_names_its_source(curated: Curated):
    manifest = pq.read_table(curated.out / "curated" / "manifest.parquet").to_pylist()
    rejected = pq.read_table(curated.out / "rejected.parquet").to_pylist()
    named = {row["source"] for row in manifest} | {row["path"] for row in rejected}
    assert named >= {*NAMES, LINK}
    assert SCRIPT in {row["source"] for row in manifest}
    (shard,) = (curated.out / "curated").glob("*.tar")
    with tarfile.open(shard) as tar:
        members = [member for member in tar if member.name.endswith(".json")]
        metadata = [json.load(tar.extractfile(member)) for member in members]  # type: ignore[arg-type]
    assert {each["source"] for each in metadata} == {row["source"] for row in manifest}
    assert any(MARKUP in each["text"] for each in metadata)


def test_nothing_was_run_unpacked_or_touched(curated: Curated):
    assert files_below(curated.there) == curated.before
    assert list(ROOT.glob(f"{PWNED}*")) == []
    beside = {path.name for path in curated.there.parent.iterdir()}
    assert beside == {"there", "[bold]", "pipelines.yaml"}


def test_on_the_page_names_and_texts_are_text(curated: Curated):
    page = (curated.out / "report" / "index.html").read_text()
    read = Reader(page)
    shown = "".join(read.texts)
    assert SCRIPT in shown
    assert MARKUP in shown
    assert SCRIPT not in page
    assert MARKUP not in page
    elements = [tag for tag, _ in read.tags]
    assert elements.count("script") == 2  # the page's own data and code
    assert not {"b", "img", "iframe"} & set(elements)
    assert not [name for _, attributes in read.tags for name in attributes if name[:2] == "on"]


def test_in_the_dataset_card_they_are_not_even_named(curated: Curated):
    card = (curated.out / "curated" / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front)["language"] == ["en"]
    assert not [mark for mark in ("<", "$(", "](") if mark in body]


def test_the_terminal_is_told_the_folders_as_they_are_called(curated: Curated):
    assert "[bold]/corpus [/red] $(" in curated.printed
    assert str(curated.out) in curated.printed
