"""Tars are the same bytes as by tarfile and by WebDataset's writer, and are read as theirs."""

from __future__ import annotations

import io
import tarfile

import pytest
import webdataset

from gpa.runtime.tar import members, tar_bytes


def test_files_of_a_key_are_adjacent_in_a_tar_and_keep_their_order():
    with tarfile.open(
        fileobj=io.BytesIO(tar_bytes({"b.flac": b"1", "b.json": b"2", "a.flac": b"3"}))
    ) as tar:
        assert tar.getnames() == ["b.flac", "b.json", "a.flac"]
        assert {member.mtime for member in tar.getmembers()} == {0}


def test_a_tar_has_the_bytes_that_webdatasets_own_writer_gives():
    files = {"b.flac": b"1" * 700, "b.json": b"{}", "a.denoised.flac": b""}
    theirs = io.BytesIO()
    with webdataset.TarWriter(theirs, encoder=False, mtime=0, user="gpa", group="gpa") as writer:
        for name, data in files.items():
            key, extension = name.split(".", 1)
            writer.write({"__key__": key, extension: data})
    assert tar_bytes(files) == theirs.getvalue()


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"a.flac": b"", "a.json": b"1" * 512, "b.flac": b"1" * 513},
        {f"{'x' * 95}.flac": b"12", f"{'x' * 96}.flac": b"1", "b.json": b"3"},  # 100 and 101 bytes
        {"a.json": b"1", "\u00fc.flac": b"12"},
        {"a.json": b"1", f"{'folder/' * 20}b.flac": b"", "x" * 300: b"12", "c.json": b"2"},
    ],
)
def test_a_tar_has_the_bytes_that_tarfile_writes_and_is_read_as_tarfile_reads_it(
    files: dict[str, bytes],
):
    theirs = io.BytesIO()
    with tarfile.open(fileobj=theirs, mode="w|") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o444
            member.uname = member.gname = "gpa"
            tar.addfile(member, io.BytesIO(data))
    assert tar_bytes(files) == theirs.getvalue()
    theirs.seek(0)
    data = theirs.getvalue()
    found = [(name, data[at : at + size]) for name, (at, size) in members(theirs).items()]
    assert found == list(files.items())
