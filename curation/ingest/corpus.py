"""Finds the raw files of a corpus: a folder, any fsspec URL, or a JSONL or CSV manifest.

What is audio is decided in two steps: here by name (cheap: a file whose name says text or image
is passed over), in `ingest` by content.
"""

from __future__ import annotations

import csv
import io
import json
import mimetypes
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import fsspec

from gpa.runtime.errors import UserError

MANIFESTS = (".jsonl", ".csv")
# Columns of a manifest that name the file; the second is NeMo's.
PATH_COLUMNS = ("path", "audio_filepath")
# A code of ISO 639, or one of BCP 47 that begins with it: "en", "yue", "zh-Hans-CN".
CODE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, order=True)
class RawFile:
    """A file that may be a recording.

    `path` is how the corpus names it, `uri` what opens it. `stamp` changes when the file does,
    so that content need not be hashed again. `claimed` tells that its name, or a manifest, says
    audio: then failing to be audio is a reject; otherwise it is simply another file. `error`
    says why it can't be opened at all.
    """

    path: str
    uri: str
    size: int
    stamp: str
    claimed: bool
    language: str | None = None
    error: str | None = None


def find(corpus: str, allow_outside: bool = False) -> list[RawFile]:
    """All raw files of a corpus, sorted by path.

    Raises UserError where the corpus does not exist, is no folder, URL or manifest, or where a
    manifest is malformed.
    """
    try:
        filesystem, root = fsspec.core.url_to_fs(corpus)
    except (ValueError, ImportError) as error:
        raise UserError(f"Corpus {corpus} can't be opened: {error}.") from None
    root = str(root)
    is_local = "file" in filesystem.protocol
    try:
        kind = filesystem.info(root)["type"]
    except FileNotFoundError:
        raise UserError(f"There is no corpus at {corpus}; name a folder with --corpus.") from None
    except OSError as error:
        raise UserError(f"Corpus {corpus} can't be read: {error}.") from None
    if kind == "directory":
        found = _local_files(Path(root)) if is_local else _remote_files(filesystem, root)
        return sorted(found)
    if root.lower().endswith(MANIFESTS):
        text = filesystem.cat_file(root)
        return sorted(_manifest_files(text, corpus, filesystem, root, allow_outside))
    raise UserError(
        f"Corpus {corpus} is a single file; name its folder, or a manifest ({', '.join(MANIFESTS)})."
    )


def says_audio(path: str) -> bool | None:
    """Whether a name says audio or video; None where it says nothing."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in {
        ".flac",
        ".opus",
        ".webm",
        ".m4a",
        ".ogg",
        ".oga",
        ".amr",
        ".wma",
        ".caf",
        ".sph",
    }:
        return True
    kind, _ = mimetypes.guess_type(f"x{suffix}")
    if kind is None or kind == "application/octet-stream":
        return None
    return kind.startswith(("audio/", "video/"))


def _local_files(root: Path) -> Iterator[RawFile]:
    """Files below a folder, through links, each folder once however links run in circles."""
    seen: set[tuple[int, int]] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        info = Path(folder).stat()
        if (info.st_dev, info.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((info.st_dev, info.st_ino))
        subfolders.sort()
        for name in names:
            path = Path(folder) / name
            claimed = says_audio(name)
            if claimed is False:
                continue
            file = _local_file(path, path.relative_to(root).as_posix(), bool(claimed), None)
            if name.startswith("."):
                file = replace(
                    file, claimed=False, error="it is hidden: its name begins with a dot"
                )
            yield file


def _local_file(path: Path, shown: str, claimed: bool, language: str | None) -> RawFile:
    if not _is_unicode(shown):
        readable = os.fsencode(shown).decode("utf-8", "backslashreplace")
        return RawFile(
            readable, readable, 0, "", claimed, language, "its name is not UTF-8; rename it"
        )
    try:
        info = path.stat()
    except OSError as error:
        return RawFile(shown, str(path), 0, "", claimed, language, error.strerror or str(error))
    if not stat.S_ISREG(info.st_mode):  # a pipe or device would block whoever opens it
        return RawFile(shown, str(path), 0, "", claimed, language, "it is no regular file")
    return RawFile(shown, str(path), info.st_size, f"{info.st_mtime_ns}", claimed, language)


def _remote_files(filesystem: fsspec.AbstractFileSystem, root: str) -> Iterator[RawFile]:
    prefix = root.rstrip("/") + "/"
    for path, info in filesystem.find(root, detail=True).items():
        claimed = says_audio(path)
        if claimed is not False:
            yield _remote_file(filesystem, path, path.removeprefix(prefix), info, bool(claimed))


def _remote_file(
    filesystem: fsspec.AbstractFileSystem,
    path: str,
    shown: str,
    info: dict,
    claimed: bool,
    language: str | None = None,
) -> RawFile:
    stamp = next((str(info[k]) for k in ("ETag", "etag", "md5Hash", "created") if k in info), "")
    uri = filesystem.unstrip_protocol(path)
    return RawFile(shown, uri, int(info.get("size") or 0), stamp, claimed, language)


def _manifest_files(
    data: bytes,
    corpus: str,
    filesystem: fsspec.AbstractFileSystem,
    manifest: str,
    allow_outside: bool,
) -> Iterator[RawFile]:
    """Files that a manifest names, relative to its own folder."""
    folder = manifest.rsplit("/", 1)[0]
    seen: set[str] = set()
    for number, row in _manifest_rows(data, corpus):
        name = next((row[column] for column in PATH_COLUMNS if row.get(column)), None)
        if not isinstance(name, str) or "\0" in name:
            raise UserError(f"{corpus}, line {number}: no `path` that names an audio file.")
        language = row.get("language") or row.get("lang") or None
        if language is not None and not (isinstance(language, str) and CODE.fullmatch(language)):
            raise UserError(f'{corpus}, line {number}: `language` must be a code such as "en".')
        if not _is_unicode(name):
            raise UserError(f"{corpus}, line {number}: half of a character (a lone surrogate).")
        if name in seen:
            continue
        seen.add(name)
        target = os.path.normpath(name if name.startswith("/") else f"{folder}/{name}")
        local = "file" in filesystem.protocol
        if not allow_outside and not _is_inside(target, folder, through_links=local):
            yield RawFile(
                name, target, 0, "", True, language,
                "it lies outside the manifest's folder; set ingest.allow_outside to allow it",
            )  # fmt: skip
        elif local:
            yield _local_file(Path(target), name, True, language)
        else:
            try:
                info = filesystem.info(target)
            except OSError:
                yield RawFile(name, target, 0, "", True, language, "No such file")
                continue
            yield _remote_file(filesystem, target, name, info, True, language)


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


def _manifest_rows(data: bytes, corpus: str) -> Iterator[tuple[int, dict]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{corpus} is not UTF-8 text ({error.reason}).") from None
    if corpus.lower().endswith(".csv"):
        try:
            reader = csv.DictReader(io.StringIO(text), strict=True)
            if not set(PATH_COLUMNS) & set(reader.fieldnames or ()):
                raise UserError(f"{corpus}: the first line must name a column `path`.")
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            raise UserError(f"{corpus} is not valid CSV: {error}.") from None
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{corpus}, line {number} is not valid JSON: {error}.") from None
        if not isinstance(row, dict):
            raise UserError(f"{corpus}, line {number} must be a JSON object.")
        yield number, row
