"""Finding the raw files of a corpus, in folders, URLs and manifests."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import fsspec
import pytest

from gpa.curation.ingest.corpus import find, says_audio
from gpa.runtime.errors import UserError

ODD_NAMES = ["a b.wav", 'quo"te.flac', "it's.mp3", "new\nline.ogg", "空 格 ñ – (1).opus"]


def touch(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_names_with_spaces_quotes_newlines_and_unicode_are_found(tmp_path: Path):
    for name in ODD_NAMES:
        touch(tmp_path / "sub" / name)
    found = find(str(tmp_path))
    assert [file.path for file in found] == sorted(f"sub/{name}" for name in ODD_NAMES)
    assert all(Path(file.uri).exists() and file.claimed and not file.error for file in found)


def test_text_and_images_are_passed_over_and_the_unknown_is_looked_at(tmp_path: Path):
    for name in ("notes.txt", "cover.jpg", "data.json", "take1", "x.rttm"):
        touch(tmp_path / name)
    assert {file.path: file.claimed for file in find(str(tmp_path))} == {
        "take1": False,
        "x.rttm": False,
    }


def test_a_hidden_file_is_listed_and_left_alone_unless_a_manifest_names_it(tmp_path: Path):
    touch(tmp_path / ".hidden.wav")
    (file,) = find(str(tmp_path))
    assert not file.claimed
    assert "hidden" in (file.error or "")
    manifest = touch(tmp_path / "m.jsonl", b'{"path": ".hidden.wav"}')
    (file,) = find(str(manifest))
    assert file.claimed
    assert file.error is None


@pytest.mark.parametrize(
    "name", ["a.wav", "a.FLAC", "a.mp3", "a.m4a", "a.aac", "a.ogg", "a.opus", "a.webm", "a.mp4"]
)
def test_the_usual_names_say_audio(name: str):
    assert says_audio(name) is True


def test_a_circle_of_links_ends(tmp_path: Path):
    touch(tmp_path / "a" / "x.wav")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert [file.path for file in find(str(tmp_path))] == ["a/x.wav"]


def test_a_dead_link_is_a_row_with_its_error(tmp_path: Path):
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (file,) = find(str(tmp_path))
    assert file.error == "No such file or directory"


def test_a_pipe_is_a_row_and_never_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.wav")
    (file,) = find(str(tmp_path))
    assert file.error == "it is no regular file"


def test_a_name_that_is_not_utf8_is_a_row_with_a_readable_name(tmp_path: Path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav")).write_bytes(b"x")
    (file,) = find(str(tmp_path))
    assert file.path == r"\xff.wav"
    assert "rename it" in (file.error or "")


def test_a_remote_folder_is_listed(tmp_path: Path):
    root = f"memory://{tmp_path.name}"
    with fsspec.open(f"{root}/talks/a.wav", "wb") as file:
        file.write(b"abc")
    (found,) = find(root)
    assert (found.path, found.size, found.claimed) == ("talks/a.wav", 3, True)
    with fsspec.open(found.uri) as file:
        assert file.read() == b"abc"


def test_a_jsonl_manifest_names_files_beside_itself(tmp_path: Path):
    touch(tmp_path / "audio" / "b.wav")
    touch(tmp_path / "audio" / "a.wav")
    manifest = tmp_path / "corpus.jsonl"
    manifest.write_text(
        '{"path": "audio/b.wav", "language": "en"}\n\n{"audio_filepath": "audio/a.wav"}\n'
    )
    assert [(file.path, file.language) for file in find(str(manifest))] == [
        ("audio/a.wav", None),
        ("audio/b.wav", "en"),
    ]


def test_a_csv_manifest_works_the_same(tmp_path: Path):
    touch(tmp_path / "a, b.wav")
    manifest = tmp_path / "corpus.csv"
    manifest.write_text('path,language\n"a, b.wav",zh\n')
    (file,) = find(str(manifest))
    assert (file.path, file.language, file.error) == ("a, b.wav", "zh", None)


@pytest.mark.parametrize("name", ["../secret.wav", "/etc/passwd", "audio/../../x.wav"])
def test_a_manifest_cannot_reach_outside_its_folder_unless_allowed(tmp_path: Path, name: str):
    folder = tmp_path / "corpus"
    manifest = touch(folder / "corpus.jsonl", f'{{"path": "{name}"}}\n'.encode())
    (file,) = find(str(manifest))
    assert "allow_outside" in (file.error or "")
    (file,) = find(str(manifest), allow_outside=True)
    assert "allow_outside" not in (file.error or "")


def test_a_link_cannot_lead_a_manifest_out_of_its_folder_unless_allowed(tmp_path: Path):
    touch(tmp_path / "secret" / "a.wav")
    folder = tmp_path / "corpus"
    manifest = touch(folder / "m.jsonl", b'{"path": "a.wav"}\n{"path": "sub/a.wav"}\n')
    (folder / "a.wav").symlink_to(tmp_path / "secret" / "a.wav")
    (folder / "sub").symlink_to(tmp_path / "secret")
    assert all("allow_outside" in (file.error or "") for file in find(str(manifest)))
    assert [file.error for file in find(str(manifest), allow_outside=True)] == [None, None]


def test_a_corpus_that_is_itself_a_link_may_name_what_lies_in_it(tmp_path: Path):
    touch(tmp_path / "disk" / "a.wav")
    touch(tmp_path / "disk" / "m.jsonl", b'{"path": "a.wav"}\n')
    (tmp_path / "corpus").symlink_to(tmp_path / "disk")
    (file,) = find(str(tmp_path / "corpus" / "m.jsonl"))
    assert file.error is None


@pytest.mark.parametrize("name", ["a.tar", "a.zip", "a.tar.gz", "a.7z"])
def test_an_archive_is_looked_at_as_one_file_and_never_unpacked(tmp_path: Path, name: str):
    with tarfile.open(tmp_path / name, "w") as tar:
        tar.add(touch(tmp_path.parent / "inside.wav"), "inside.wav")
    assert [file.path for file in find(str(tmp_path))] in ([name], [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"path": "a.wav"}\n{oops\n', "line 2 is not valid JSON"),
        ("[1]\n", "line 1 must be a JSON object"),
        ('{"file": "a.wav"}\n', "line 1: no `path`"),
        ('{"path": "a.wav", "language": 3}\n', "language"),
        ('{"path": "\\ud800.wav"}\n', "line 1: half of a character"),
        ('{"path": "a.wav", "language": "\\udcff"}\n', "language"),
        ('{"path": "a.wav", "language": "<b>en"}\n', "line 1: `language` must be a code such as"),
    ],
)
def test_a_malformed_manifest_stops_the_run_at_its_line(tmp_path: Path, text: str, says: str):
    manifest = touch(tmp_path / "corpus.jsonl", text.encode())
    with pytest.raises(UserError, match=says):
        find(str(manifest))


@pytest.mark.parametrize(("corpus", "says"), [("nowhere", "no corpus"), ("a.wav", "single file")])
def test_what_is_no_corpus_is_a_sentence(tmp_path: Path, corpus: str, says: str):
    touch(tmp_path / "a.wav")
    with pytest.raises(UserError, match=says):
        find(str(tmp_path / corpus))
