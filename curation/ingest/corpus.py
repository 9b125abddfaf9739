"""Finds the raw files of a corpus: a folder, any fsspec URL, a manifest, or what others' tools hold.

A folder with Kaldi's `wav.scp` or NeMo's `tarred_audio_manifest.json` is what these say; in any other
the tars and Parquet files that hold recordings stand for them (`containers`).

What is audio is decided in two steps: here by name (a file whose name says that it can't be audio
is listed, and not opened), in `ingest` by content.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from gpa.curation.decoding.places import open_file
from gpa.curation.ingest import containers, kaldi
from gpa.curation.ingest.containers import Member
from gpa.curation.ingest.files import Files, RawFile
from gpa.curation.ingest.manifest import (
    SUFFIXES,
    Entry,
    described,
    read_kaldi,
    read_manifest,
    unread_columns,
)
from gpa.curation.ingest.names import says_audio
from gpa.runtime.errors import UserError, one_line
from gpa.runtime.storage import filesystem_of

NO_AUDIO = "its name says that it is no audio"
NEMO = "tarred_audio_manifest.json"
# Errors that say there is no such file, and not that it can't be read now.
OF_THE_NAME = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
HIDDEN = "it is hidden: its name begins with a dot"


def find(
    corpus: str, allow_outside: bool = False, say: Callable[[str], None] = lambda _: None
) -> Files:
    """All files of a corpus, sorted by path and, in a file, by time.

    `say` is told what of a manifest is kept and not understood. Raises UserError where the corpus
    does not exist, is no folder, URL or manifest, or where a manifest is malformed.
    """
    try:
        filesystem, root = filesystem_of(corpus)
        is_local = "file" in filesystem.protocol
        kind = filesystem.info(root)["type"]
        manifest = root
        if kind == "directory":
            if filesystem.exists(f"{root}/{kaldi.WAV}"):
                manifest = f"{root}/{kaldi.WAV}"
            elif filesystem.exists(f"{root}/{NEMO}"):
                manifest = f"{root}/{NEMO}"
            else:
                found = _local_files(Path(root)) if is_local else _remote_files(filesystem, root)
                return Files(_opened(found, filesystem, root, allow_outside), once=True)
        elif _holds_recordings(filesystem, root):
            name = root.rpartition("/")[2]
            found = iter([_named(_manifest_file(name, filesystem, _folder(root), True), name)])
            return Files(_opened(found, filesystem, _folder(root), allow_outside))
        data = None
        if manifest.endswith(f"/{kaldi.WAV}"):
            data = {
                name: filesystem.cat_file(f"{root}/{name}")
                for name in (kaldi.WAV, kaldi.SEGMENTS, *kaldi.TABLES)
                if filesystem.exists(f"{root}/{name}")
            }
        elif manifest.lower().endswith(SUFFIXES):
            data = filesystem.cat_file(manifest)
    except (ValueError, ImportError) as error:
        raise UserError(f"Corpus {corpus} can't be opened: {one_line(error)}.") from None
    except Exception as raised:  # what clients of object stores raise has no common class
        why = _refusal(raised)
        if isinstance(why, FileNotFoundError):
            raise UserError(
                f"There is no corpus at {corpus}; name a folder with --corpus."
            ) from None
        raise UserError(
            f"Corpus {corpus} can't be read ({type(why).__name__}: {one_line(why)}); check its "
            "address, the permission to read it, and for an object store its endpoint and "
            "credentials."
        ) from None
    if data is None:
        raise UserError(
            f"Corpus {corpus} is a single file; name its folder, a manifest "
            f"({', '.join(SUFFIXES)}) or a tar."
        )
    shown = corpus if manifest == root else f"{corpus.rstrip('/')}/{NEMO}"
    entries = read_kaldi(data, corpus) if isinstance(data, dict) else read_manifest(data, shown)
    files = Files(_manifest_files(entries, filesystem, manifest, allow_outside))
    if unread := unread_columns(file.given for file in files):
        say(f"Kept in KEY.json as `given`, and read for nothing: {', '.join(unread)}.")
    return files


def _local_files(root: Path) -> Iterator[RawFile]:
    """Files below a folder, through links, each folder once however links run in circles."""
    seen: set[tuple[int, int]] = set()
    unread: list[OSError] = []
    for folder, subfolders, names in os.walk(root, onerror=unread.append, followlinks=True):
        info = Path(folder).stat()
        if (info.st_dev, info.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((info.st_dev, info.st_ino))
        subfolders.sort()
        for name in names:
            path = Path(folder) / name
            yield _named(_local_file(path, path.relative_to(root).as_posix()), name)
    for error in unread:
        shown = f"{Path(os.fsdecode(error.filename)).relative_to(root).as_posix()}/"
        shown = os.fsencode(shown).decode("utf-8", "backslashreplace")
        yield RawFile(shown, shown, error=f"a folder: {one_line(error)}", not_read=True)


def _named(file: RawFile, name: str) -> RawFile:
    """A file that nobody but its folder names, with what its name says."""
    if name.startswith("."):
        return replace(file, claimed=False, error=HIDDEN, not_read=False)
    if name.lower().endswith(containers.SUFFIXES):
        return replace(file, claimed=False)
    claimed = says_audio(name)
    if claimed is False:
        return replace(file, claimed=False, error=NO_AUDIO, not_read=False)
    return replace(file, claimed=bool(claimed))


def _local_file(path: Path, shown: str) -> RawFile:
    if not _is_unicode(shown):
        readable = os.fsencode(shown).decode("utf-8", "backslashreplace")
        return RawFile(readable, readable, error="its name is not UTF-8; rename it")
    try:
        info = path.stat()
    except OSError as error:
        not_read = error.errno not in OF_THE_NAME
        return RawFile(shown, str(path), error=one_line(error), not_read=not_read)
    if not stat.S_ISREG(info.st_mode):  # a pipe or device would block whoever opens it
        return RawFile(shown, str(path), error="it is no regular file")
    return RawFile(shown, str(path), info.st_size, f"{info.st_mtime_ns}")


def _remote_files(filesystem: fsspec.AbstractFileSystem, root: str) -> Iterator[RawFile]:
    prefix = root.rstrip("/") + "/"
    for path, info in filesystem.find(root, detail=True).items():
        shown = path.removeprefix(prefix)
        yield _named(_remote_file(filesystem, path, shown, info), shown.rsplit("/", 1)[-1])


def _remote_file(
    filesystem: fsspec.AbstractFileSystem, path: str, shown: str, info: dict[str, Any]
) -> RawFile:
    stamp = next((str(info[k]) for k in ("ETag", "etag", "md5Hash", "created") if k in info), "")
    return RawFile(shown, filesystem.unstrip_protocol(path), int(info.get("size") or 0), stamp)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _holds_recordings(filesystem: fsspec.AbstractFileSystem, path: str) -> bool:
    """Whether a single file is a tar, or Parquet with audio in it, and no manifest."""
    if not path.lower().endswith(".parquet"):
        return path.lower().endswith(containers.SUFFIXES)
    try:
        with filesystem.open(path, "rb") as file:
            return containers.holds_audio(pq.read_schema(pa.PythonFile(file, mode="r")))
    except pa.ArrowException:
        return False  # which reading it as a manifest says


def _opened(
    files: Iterator[RawFile], filesystem: fsspec.AbstractFileSystem, root: str, allow_outside: bool
) -> Iterator[RawFile]:
    """The files of a folder, with what they hold in the place of tars and Parquet with audio."""
    for file in files:
        if file.error is None and file.path.lower().endswith(containers.SUFFIXES):
            folder = _folder(f"{root}/{file.path}")
            yield from _members(file, filesystem, folder, allow_outside)
        else:
            yield file


def _members(
    container: RawFile, filesystem: fsspec.AbstractFileSystem, folder: str, allow_outside: bool
) -> Iterator[RawFile]:
    """The recordings in a container, and what can't be read of it; or itself, if it has none."""
    try:
        members = list(_in(container, filesystem, folder))
    except (pa.ArrowException, ValueError) as error:
        yield replace(container, claimed=True, error=f"it is damaged: {one_line(error)}")
        return
    except Exception as raised:  # what clients of object stores raise has no common class
        why = one_line(_refusal(raised))
        yield replace(container, error=f"it can't be opened: {why}", not_read=True)
        return
    if not any(each.error or each.file or says_audio(each.name) is not False for each in members):
        yield replace(container, error="it holds no audio")
        return
    for member in members:
        yield _member(container, member, filesystem, folder, allow_outside)


def _in(container: RawFile, filesystem: fsspec.AbstractFileSystem, folder: str) -> Iterator[Member]:
    with open_file(container.uri) as file:
        if container.path.lower().endswith(".parquet"):
            table = pq.ParquetFile(pa.PythonFile(file, mode="r"))
            if containers.holds_audio(table.schema_arrow):
                yield from containers.parquet_members(table, container.uri)
            return
        name = container.uri.rpartition("/")[2]
        cuts = containers.cuts_beside(name)
        known = {}
        if cuts is not None and filesystem.exists(f"{folder}/{cuts}"):
            known = containers.read_cuts(filesystem.cat_file(f"{folder}/{cuts}"))
        yield from containers.tar_members(file, container.uri, container.size, known)


def _member(
    container: RawFile,
    member: Member,
    filesystem: fsspec.AbstractFileSystem,
    folder: str,
    allow_outside: bool,
) -> RawFile:
    """A member as a file of the corpus; a part of the container that can't be read, as itself."""
    if not member.name:
        return replace(container, claimed=True, error=member.error)
    shown = f"{container.path}/{member.name}"
    if not _is_unicode(shown):
        readable = shown.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return RawFile(readable, readable, error="its name is not UTF-8; rename it")
    if member.file is not None:
        file = _manifest_file(member.file, filesystem, folder, allow_outside)
    else:
        file = replace(container, path=shown, uri=member.place, size=member.size, claimed=True)
        if container.path.lower().endswith(".tar"):
            file = _named(file, member.name.rpartition("/")[2])
    if member.error is not None:
        return replace(file, uri=shown, claimed=True, error=member.error)
    try:
        language, given = described(member.said, shown)
    except UserError as error:
        return replace(file, error=str(error))
    return replace(file, language=language, given=given)


def _manifest_files(
    entries: Iterator[Entry],
    filesystem: fsspec.AbstractFileSystem,
    manifest: str,
    allow_outside: bool,
) -> Iterator[RawFile]:
    """Files that a manifest names, relative to its own folder or by a URL."""
    folder = _folder(manifest)
    listed: dict[str, RawFile] = {}
    for entry in entries:
        if entry.error is not None:
            yield RawFile(entry.path, entry.path, error=entry.error, given=entry.given)
            continue
        if entry.path not in listed:
            tar, inside, _ = entry.path.partition(".tar/")
            if inside and f"{tar}.tar" not in listed:
                whole = _manifest_file(f"{tar}.tar", filesystem, folder, allow_outside)
                listed |= {each.path: each for each in _members(whole, filesystem, folder, False)}
                listed[f"{tar}.tar"] = whole
        if entry.path not in listed:
            listed[entry.path] = _manifest_file(entry.path, filesystem, folder, allow_outside)
        yield replace(
            listed[entry.path],
            language=entry.language,
            start_s=entry.start_s,
            end_s=entry.end_s,
            channel=entry.channel,
            given=entry.given,
        )


def _manifest_file(
    name: str, filesystem: fsspec.AbstractFileSystem, folder: str, allow_outside: bool
) -> RawFile:
    local = "file" in filesystem.protocol
    if "://" in name:
        target, inside = name, False
    else:
        target = os.path.normpath(name if name.startswith("/") else f"{folder}/{name}")
        inside = _is_inside(target, folder, through_links=local)
    if not allow_outside and not inside:
        return RawFile(
            name,
            target,
            error="it lies outside the manifest's folder; set ingest.allow_outside to allow it",
        )
    if "://" not in name and local:
        return _local_file(Path(target), name)
    try:
        if "://" in name:
            filesystem, target = filesystem_of(name)
        return _remote_file(filesystem, target, name, filesystem.info(target))
    except Exception as raised:  # one file's address, whatever its client raises
        error = _refusal(raised)
        if isinstance(error, FileNotFoundError):
            return RawFile(name, target, error="No such file")
        return RawFile(name, target, error=f"it can't be opened: {one_line(error)}", not_read=True)


def _refusal(error: Exception) -> BaseException:
    """Why storage gives nothing: a client of HTTP says of every failure that there is no file."""
    return error.__cause__ or error if isinstance(error, FileNotFoundError) else error


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_inside(target: str, folder: str, through_links: bool) -> bool:
    """Whether a path, and where it leads if links are followed, lies below a folder."""
    if not target.startswith(f"{folder}/"):
        return False
    if not through_links:
        return True
    return os.path.realpath(target).startswith(f"{os.path.realpath(folder)}/")
