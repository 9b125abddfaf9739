"""Finds the raw files of a corpus: a folder, any fsspec URL, or a manifest.

What is audio is decided in two steps: here by name (a file whose name says that it can't be audio
is listed, and not opened), in `ingest` by content.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec

from gpa.curation.ingest.manifest import SUFFIXES, Entry, read_manifest, unread_columns
from gpa.curation.ingest.names import says_audio
from gpa.runtime.errors import UserError, one_line
from gpa.runtime.storage import filesystem_of

NO_AUDIO = "its name says that it is no audio"
# Errors that say there is no such file, and not that it can't be read now.
OF_THE_NAME = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
HIDDEN = "it is hidden: its name begins with a dot"


@dataclass(frozen=True)
class RawFile:
    """A file, or a segment of one, that may be a recording.

    `path` is how the corpus names it, `uri` what opens it. `stamp` changes when the file does,
    so that content need not be hashed again. `claimed` tells that its name, or a manifest, says
    audio: then failing to be audio is a reject; otherwise it is simply another file. `error`
    says why it is not opened at all, and `not_read` that this is storage's, which may give it
    another time. The rest is what a manifest says (`manifest.Entry`).
    """

    path: str
    uri: str
    size: int = 0
    stamp: str = ""
    claimed: bool = True
    error: str | None = None
    not_read: bool = False
    language: str | None = None
    start_s: float = 0.0
    end_s: float | None = None
    channel: int | None = None
    given: str = "{}"


def find(
    corpus: str, allow_outside: bool = False, say: Callable[[str], None] = lambda _: None
) -> list[RawFile]:
    """All files of a corpus, sorted by path and, in a file, by time.

    `say` is told what of a manifest is kept and not understood. Raises UserError where the corpus
    does not exist, is no folder, URL or manifest, or where a manifest is malformed.
    """
    try:
        filesystem, root = filesystem_of(corpus)
        is_local = "file" in filesystem.protocol
        kind = filesystem.info(root)["type"]
        if kind == "directory":
            found = _local_files(Path(root)) if is_local else _remote_files(filesystem, root)
            return _in_order(found)
        data = filesystem.cat_file(root) if root.lower().endswith(SUFFIXES) else None
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
            f"Corpus {corpus} is a single file; name its folder, or a manifest "
            f"({', '.join(SUFFIXES)})."
        )
    entries = read_manifest(data, corpus)
    if unread := unread_columns(entries):
        say(f"Kept in KEY.json as `given`, and read for nothing: {', '.join(unread)}.")
    return _in_order(_manifest_files(entries, filesystem, root, allow_outside))


def _in_order(files: Iterator[RawFile]) -> list[RawFile]:
    return sorted(
        files, key=lambda each: (each.path, each.start_s, each.end_s or 0, each.channel or 0)
    )


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


def _manifest_files(
    entries: Sequence[Entry],
    filesystem: fsspec.AbstractFileSystem,
    manifest: str,
    allow_outside: bool,
) -> Iterator[RawFile]:
    """Files that a manifest names, relative to its own folder or by a URL."""
    folder = manifest.rsplit("/", 1)[0]
    listed: dict[str, RawFile] = {}
    for entry in entries:
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
