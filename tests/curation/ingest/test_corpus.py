"""Finding the raw files of a corpus, in folders, URLs and manifests."""

from __future__ import annotations

import errno
import json
import mimetypes
import os
import tarfile
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpa.curation.audio import opened
from gpa.curation.ingest.corpus import HIDDEN, NO_AUDIO, find
from gpa.curation.ingest.names import says_audio
from gpa.runtime.errors import UserError
from tests import unreliable

unreliable.register()

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


def test_every_file_is_listed_and_names_spare_only_the_opening_of_what_cannot_be_audio(
    tmp_path: Path,
):
    for name in ("notes.txt", "cover.jpg", "a.zip", "take1", "x.ts", "x.wv", "x.asf", ".hid.wav"):
        touch(tmp_path / name)
    found = {file.path: (file.claimed, file.error) for file in find(str(tmp_path))}
    assert found == {
        ".hid.wav": (False, HIDDEN),
        "a.zip": (False, NO_AUDIO),
        "cover.jpg": (False, NO_AUDIO),
        "notes.txt": (False, NO_AUDIO),
        "take1": (False, None),
        "x.asf": (True, None),
        "x.ts": (False, None),
        "x.wv": (True, None),
    }


def test_another_machine_s_table_of_types_decides_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(mimetypes.types_map, ".ts", "text/plain")
    assert says_audio("a.ts") is None


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


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.7z"])
def test_an_archive_is_looked_at_as_one_file_and_never_unpacked(tmp_path: Path, name: str):
    with tarfile.open(tmp_path / name, "w") as tar:
        tar.add(touch(tmp_path.parent / "inside.wav"), "inside.wav")
    (file,) = find(str(tmp_path))
    assert file.path == name


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
        ('{"path": "a.wav", "language": "english"}\n', "line 1: `language` must be a code such as"),
        ('{"path": "a"}\n{"path": "a"}\n', "line 2: 'a' stands in line 1 already"),
        ('{"path": "a", "offset": NaN}\n', "line 1: `offset` must be a number from 0"),
        ('{"path": "a", "duration": -1}\n', "line 1: `duration` must be a number from 0"),
        ('{"path": "a", "offset": 1, "start": 1}\n', "line 1: either `offset`"),
        ('{"path": "a", "start": 2, "end": 2}\n', "line 1: the segment ends where it begins"),
        ('{"path": "a", "channel": 0.5}\n', "line 1: `channel` must be a whole number"),
        ('{"path": "a", "channel": 1e300}\n', "line 1: `channel` must be a whole number from 0 to"),
        ('{"path": "a", "language": ["en"]}\n', "line 1: `language` must be a code such as"),
        ('{"path": "a", "language": "en", "lang": "de"}\n', "line 1: `language` and `lang`"),
        ('{"path": "a", "audio_filepath": "b"}\n', "line 1: `path` and `audio_filepath`"),
        ('{"path": "a", "path": "b"}\n', "line 1 is not valid JSON: a key stands in it twice"),
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


@pytest.mark.parametrize("code", ["en", "EN", "en-US", "en_GB", "eng"])
def test_a_language_is_one_however_it_is_written(tmp_path: Path, code: str):
    manifest = touch(tmp_path / "m.jsonl", f'{{"path": "a.wav", "language": "{code}"}}'.encode())
    (file,) = find(str(manifest))
    assert file.language == "en"


def test_a_row_is_a_segment_and_what_else_it_says_is_kept(tmp_path: Path):
    touch(tmp_path / "a.wav")
    said = [
        {"audio_filepath": "a.wav", "offset": 6, "duration": "1.5", "text": 7, "room": "hall"},
        {"audio_filepath": "a.wav", "start": 0, "end": 6.0, "speaker": "ann", "channel": 1},
    ]
    manifest = touch(tmp_path / "m.jsonl", "\n".join(map(json.dumps, said)).encode())
    told: list[str] = []
    first, second = find(str(manifest), say=told.append)
    assert (first.start_s, first.end_s, first.channel, json.loads(first.given)) == (
        0.0, 6.0, 1, {"speaker": "ann"},
    )  # fmt: skip
    assert (second.start_s, second.end_s, json.loads(second.given)) == (
        6.0, 7.5, {"text": 7, "room": "hall"},
    )  # fmt: skip
    assert told == ["Kept in KEY.json as `given`, and read for nothing: room."]


def test_parquet_csv_and_jsonl_say_the_same(tmp_path: Path):
    touch(tmp_path / "a.wav")
    long = "x" * 200_000  # more than the csv module takes by itself
    row = {"path": "a.wav", "language": "de", "text": long, "nothing": None}
    touch(tmp_path / "m.jsonl", json.dumps(row).encode())
    touch(tmp_path / "m.csv", f"path,language,text,nothing\na.wav,de,{long},\n".encode())
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "m.parquet")
    one, two, three = (find(str(tmp_path / f"m.{kind}")) for kind in ("jsonl", "csv", "parquet"))
    assert one == two == three
    assert json.loads(one[0].given) == {"text": long}


def test_a_folder_or_a_key_may_hold_two_colons(tmp_path: Path):
    touch(tmp_path / "a::b" / "c::d.wav")
    (file,) = find(str(tmp_path / "a::b"))
    assert (file.path, file.error) == ("c::d.wav", None)
    (file,) = find(f"moody://{tmp_path}/a::b")
    assert file.path == "c::d.wav"
    with opened(file.uri) as content:
        assert content.read() == b"x"


def test_an_address_inside_a_manifest_is_one_row_whatever_is_wrong_with_it(tmp_path: Path):
    fsspec.filesystem("memory").pipe_file(f"/{tmp_path.name}/far.wav", b"abc")
    far = f"memory://{tmp_path.name}/far.wav"
    names = [far, "memory://nowhere.wav", "nosuch://a.wav", "broken://a.wav"]
    manifest = touch(
        tmp_path / "m.jsonl", "\n".join(json.dumps({"path": name}) for name in names).encode()
    )
    found = {file.path: file for file in find(str(manifest), allow_outside=True)}
    assert found[far].error is None
    assert not found["memory://nowhere.wav"].not_read
    assert "nosuch" in (found["nosuch://a.wav"].error or "")
    assert found["broken://a.wav"].not_read
    assert all("allow_outside" in (file.error or "") for file in find(str(manifest)))


def test_a_corpus_whose_storage_does_not_answer_is_a_sentence():
    with pytest.raises(UserError, match=r"can't be read \(ConnectionError: refused\); check"):
        find("broken://corpus")


def test_a_folder_that_cannot_be_listed_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path / "a.wav")
    touch(tmp_path / "closed" / "b.wav")
    listed = os.scandir

    def closed(folder):
        if str(folder).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", closed)  # root, who runs tests, may list everything
    found = {file.path: (file.error, file.not_read) for file in find(str(tmp_path))}
    assert found == {
        "a.wav": (None, False),
        "closed/": ("a folder: Permission denied", True),
    }
