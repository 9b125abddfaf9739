"""Where artifacts lie, and how they are committed so that a kill at any moment loses nothing.

An artifact is up to three files, `<stage>/<fingerprint>/<partition>.{tar,rejects.parquet,parquet}`,
written in that order: the last one carries the checksums of the others and says that all is
done. Each file is written beside its place, synced and renamed; on object stores it is one PUT.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import tarfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from gpa.runtime.errors import UserError
from gpa.runtime.stage import REJECT_SCHEMA, Artifact, Reject

CHANGED = "has other bytes than were written"
# How the name of a file ends while it is written.
PARTIAL = ".partial"
REJECTS = ".rejects.parquet"


class DamageError(UserError):
    """An artifact whose bytes are not those that were written."""

    def __init__(self, artifact: str, suffix: str, problem: str):
        super().__init__(f"{artifact}{suffix} {problem}")
        self.artifact = artifact  # <stage>/<fingerprint>/<partition>


class Store:
    """Files under one root: a folder, or any URL that fsspec knows."""

    def __init__(self, url: str):
        self.url = url
        try:
            self.filesystem, root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise UserError(f"{url} is no place that fsspec can write to: {error}.") from None
        self.root = str(root).rstrip("/") or "/"
        protocol = self.filesystem.protocol
        self.is_local = "file" in ((protocol,) if isinstance(protocol, str) else protocol)

    def path(self, name: str) -> str:
        """The place of `name` (slashes between folders), as the file system calls it."""
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return bool(self.filesystem.exists(self.path(name)))

    def read(self, name: str) -> bytes:
        """The whole of a file; raises FileNotFoundError."""
        return self.filesystem.cat_file(self.path(name))

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place, whole or not at all; raises UserError where the disk is full."""
        try:
            self._write(name, data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(
                f"There is no room left in {self.url} ({error.strerror}); make some and start "
                "the same command again: all that is done stays."
            ) from None

    def _write(self, name: str, data: bytes) -> None:
        if not self.is_local:
            self.filesystem.pipe_file(self.path(name), data)
            return
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}{PARTIAL}")
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(target)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)

    def names(self, folder: str) -> list[str]:
        """Names of the files directly in a folder, sorted; empty where there is no folder."""
        try:
            names = self._local_names(folder) if self.is_local else self._remote_names(folder)
        except FileNotFoundError:
            return []
        return sorted(name for name in names if not name.endswith(PARTIAL))

    def _local_names(self, folder: str) -> list[str]:
        # fsspec asks for the size and date of each file, which takes ten times as long.
        with os.scandir(self.path(folder)) as entries:
            return [entry.name for entry in entries if entry.is_file()]

    def _remote_names(self, folder: str) -> list[str]:
        found = self.filesystem.ls(self.path(folder), detail=True, refresh=True)
        return [entry["name"].rsplit("/", 1)[-1] for entry in found if entry["type"] == "file"]

    def sweep(self, folder: str) -> None:
        """Delete what writers that were killed left behind in a folder."""
        if self.is_local:
            for partial in Path(self.path(folder)).glob(f".*{PARTIAL}"):
                partial.unlink(missing_ok=True)

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in a folder, sorted."""
        try:
            found = self.filesystem.ls(self.path(folder), detail=True, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(
            entry["name"].rstrip("/").rsplit("/", 1)[-1]
            for entry in found
            if entry["type"] == "directory"
        )

    def remove(self, name: str) -> None:
        """Delete a file or a folder with all in it; nothing happens where there is none."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.rm(self.path(name), recursive=True)

    def open(self, name: str) -> io.BufferedIOBase:
        """A file to read from, with seek."""
        return self.filesystem.open(self.path(name), "rb")


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tar_bytes(files: Mapping[str, bytes]) -> bytes:
    """A tar of `files` in their order, the same bytes whenever and wherever it is made.

    A name is `<key>.<extension>`; the key has no dot, so that WebDataset groups what belongs
    together. Its own writer gives the same bytes, and costs every worker the import of torch.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w|") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o444
            member.uname = member.gname = "gpa"
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


class TarFiles(Mapping[str, bytes]):
    """The files of a stored tar, each read only when asked for.

    Where the tar's checksum is given, the first reading raises DamageError if it does not hold.
    """

    def __init__(self, store: Store, name: str, sha256: str | None = None):
        self._store = store
        self._name = name
        self._sha256 = sha256
        self._members: dict[str, tuple[int, int]] | None = None
        self._file: io.BufferedIOBase | None = None

    def _open(self) -> tuple[dict[str, tuple[int, int]], io.BufferedIOBase]:
        if self._members is None or self._file is None:
            self._file = self._whole()
            with tarfile.open(fileobj=self._file, mode="r:") as tar:
                self._members = {m.name: (m.offset_data, m.size) for m in tar.getmembers()}
        return self._members, self._file

    def _whole(self) -> io.BufferedIOBase:
        # A remote tar is fetched whole: one request instead of one a member.
        local = self._store.is_local
        try:
            file = (
                self._store.open(self._name) if local else io.BytesIO(self._store.read(self._name))
            )
        except FileNotFoundError:
            if self._sha256 is None:
                raise
            raise DamageError(self._name.removesuffix(".tar"), ".tar", "is gone") from None
        if self._sha256 is not None:
            if hashlib.file_digest(file, "sha256").hexdigest() != self._sha256:
                raise DamageError(self._name.removesuffix(".tar"), ".tar", CHANGED)
            file.seek(0)
        return file

    def __getitem__(self, name: str) -> bytes:
        members, file = self._open()
        offset, size = members[name]
        file.seek(offset)
        return file.read(size)

    def place(self, name: str) -> tuple[int, int]:
        """Where in the tar a file's bytes start, and how many they are."""
        return self._open()[0][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._open()[0])

    def __len__(self) -> int:
        return len(self._open()[0])


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as Parquet with checksums in its pages, the same bytes for the same rows."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def read_parquet(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """A table from Parquet; raises OSError or ArrowException where a byte was changed."""
    wanted = list(columns) if columns is not None else None
    # `read_table` would plan a dataset first, which takes longer than to read a small file.
    return pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True).read(wanted)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class ArtifactStore:
    """Artifacts of all stages under one OUT, by stage, fingerprint and partition."""

    def __init__(self, store: Store):
        self.store = store

    @staticmethod
    def _name(stage: str, fingerprint: str, partition: str, suffix: str) -> str:
        return f"{stage}/{fingerprint}/{partition}{suffix}"

    def done(self, stage: str, fingerprint: str) -> set[str]:
        """Partitions whose artifact is whole: one listing, however many there are."""
        suffix = ".parquet"
        return {
            name.removesuffix(suffix)
            for name in self.store.names(f"{stage}/{fingerprint}")
            if name.endswith(suffix) and not name.endswith(REJECTS)
        }

    def dropping(self, stage: str, fingerprint: str) -> set[str]:
        """Partitions with rejects, be their artifact whole or not: one listing, too."""
        return {
            name.removesuffix(REJECTS)
            for name in self.store.names(f"{stage}/{fingerprint}")
            if name.endswith(REJECTS)
        }

    def exists(self, stage: str, fingerprint: str, partition: str) -> bool:
        """Whether a partition's artifact is whole."""
        return self.store.exists(self._name(stage, fingerprint, partition, ".parquet"))

    def write(self, stage: str, fingerprint: str, partition: str, artifact: Artifact) -> None:
        """Commit an artifact; readers see all of it or nothing."""
        metadata = {b"gpa.stage": stage, b"gpa.fingerprint": fingerprint}
        if artifact.files:
            tar = tar_bytes(artifact.files)
            metadata[b"gpa.tar_sha256"] = _sha256(tar)
            self.store.write(self._name(stage, fingerprint, partition, ".tar"), tar)
        if artifact.rejects:
            rejects = parquet_bytes(
                pa.Table.from_pylist([vars(reject) for reject in artifact.rejects], REJECT_SCHEMA)
            )
            metadata[b"gpa.rejects_sha256"] = _sha256(rejects)
            self.store.write(self._name(stage, fingerprint, partition, REJECTS), rejects)
        table = artifact.table.replace_schema_metadata(metadata)
        self.store.write(
            self._name(stage, fingerprint, partition, ".parquet"), parquet_bytes(table)
        )

    def table(
        self, stage: str, fingerprint: str, partition: str, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """The rows of an artifact; all columns where none are named."""
        return self._parquet(stage, fingerprint, partition, ".parquet", columns)

    def _parquet(
        self,
        stage: str,
        fingerprint: str,
        partition: str,
        suffix: str,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        data = self.store.read(self._name(stage, fingerprint, partition, suffix))
        try:
            return read_parquet(data, columns)
        except (OSError, pa.ArrowException) as error:
            artifact = self._name(stage, fingerprint, partition, "")
            problem = f"can't be read ({type(error).__name__})"
            raise DamageError(artifact, suffix, problem) from None

    def rejects(self, stage: str, fingerprint: str, partition: str) -> pa.Table:
        """What the stage dropped, in REJECT_SCHEMA."""
        try:
            return self._parquet(stage, fingerprint, partition, REJECTS)
        except FileNotFoundError:
            return REJECT_SCHEMA.empty_table()

    def read(self, stage: str, fingerprint: str, partition: str) -> Artifact:
        """An artifact as later stages see it: its table now, its files when asked for.

        Raises DamageError, now or when a file is asked for, where a checksum does not hold.
        """
        table = self.table(stage, fingerprint, partition)
        sha256 = (table.schema.metadata or {}).get(b"gpa.tar_sha256", b"").decode()
        tar = self._name(stage, fingerprint, partition, ".tar")
        rejects = self.rejects(stage, fingerprint, partition).to_pylist()
        return Artifact(
            table, TarFiles(self.store, tar, sha256 or None), [Reject(**row) for row in rejects]
        )

    def sweep(self, stage: str, fingerprint: str) -> None:
        """Delete what workers that died in the middle of a write left behind; none may be alive."""
        self.store.sweep(f"{stage}/{fingerprint}")

    def remove(self, stage: str, fingerprint: str, partition: str) -> None:
        """Forget an artifact, so that the next run makes it again."""
        for suffix in (".parquet", REJECTS, ".tar"):
            self.store.remove(self._name(stage, fingerprint, partition, suffix))

    @contextlib.contextmanager
    def forgetting_damage(self) -> Iterator[None]:
        """Where something reads a damaged artifact, forget that artifact and say so."""
        try:
            yield
        except DamageError as damage:
            self.store.remove(f"{damage.artifact}.parquet")
            raise UserError(f"{damage}; the same command now makes it again.") from None

    def damage(self, stage: str, fingerprint: str, partition: str) -> str | None:
        """What is wrong with an artifact's bytes, or None where every checksum holds."""
        place = self._name(stage, fingerprint, partition, "")
        try:
            table = self.table(stage, fingerprint, partition)
        except FileNotFoundError:
            return f"{place}.parquet is gone"
        except DamageError as damage:
            return str(damage)
        metadata = table.schema.metadata or {}
        for suffix, key in (
            (".tar", b"gpa.tar_sha256"),
            (REJECTS, b"gpa.rejects_sha256"),
        ):
            if key not in metadata:
                continue
            try:
                data = self.store.read(f"{place}{suffix}")
            except FileNotFoundError:
                return f"{place}{suffix} is gone"
            if _sha256(data) != metadata[key].decode():
                return f"{place}{suffix} {CHANGED}"
        return None
