"""Artifacts: what a stage made of a partition, and how a kill at any moment loses nothing of it.

An artifact is up to four files, `<stage>/<fingerprint>/<partition>` with the endings `.tar`,
`.arrow`, `.rejects.parquet` and `.parquet`, written in that order: the last one carries the
checksums of the others and says that all is done.
What the names hold: `gpa.runtime.naming`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from gpa.runtime.errors import UserError
from gpa.runtime.naming import name_under
from gpa.runtime.stage import REJECT_SCHEMA, Artifact, Reject
from gpa.runtime.storage import Store
from gpa.runtime.tar import members, tar_bytes

CHANGED = "has other bytes than were written"
REJECTS = ".rejects.parquet"
# Where the table of an artifact says which bytes its other files have.
TAR_SHA256 = b"gpa.tar_sha256"
SHA256 = {".tar": TAR_SHA256, ".arrow": b"gpa.arrow_sha256", REJECTS: b"gpa.rejects_sha256"}
# Tables that go to an object store together.
WRITTEN_AT_ONCE = 128


class DamageError(UserError):
    """An artifact whose bytes are not those that were written."""

    def __init__(self, artifact: str, suffix: str, problem: str):
        super().__init__(f"{artifact}{suffix} {problem}")
        self.artifact = artifact  # <stage>/<fingerprint>/<partition>


def _open_checked(
    store: Store, artifact: str, suffix: str, sha256: str | None
) -> io.BufferedIOBase:
    """A file to read from; raises DamageError where its checksum, if given, does not hold."""
    name = f"{artifact}{suffix}"
    try:
        # A remote file is fetched whole: one request instead of one for each part.
        with store.reading(name):
            file = store.open(name) if store.is_local else io.BytesIO(store.read(name))
    except FileNotFoundError:
        if sha256 is None:
            raise
        raise DamageError(artifact, suffix, "is gone") from None
    if sha256 is not None:
        with store.reading(name):
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            file.close()
            raise DamageError(artifact, suffix, CHANGED)
        file.seek(0)
    return file


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
            self._file = _open_checked(
                self._store, self._name.removesuffix(".tar"), ".tar", self._sha256
            )
            self._members = members(self._file)
        return self._members, self._file

    def __getitem__(self, name: str) -> bytes:
        places, file = self._open()
        offset, size = places[name]
        with self._store.reading(self._name):
            file.seek(offset)
            return file.read(size)

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


def arrow_bytes(rows: pa.RecordBatch) -> bytes:
    """Rows as an uncompressed Arrow file, the same bytes for the same rows."""
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, rows.schema) as writer:
        writer.write_batch(rows)
    return buffer.getvalue()


def _metadata(stage: str, fingerprint: str) -> dict[bytes, str]:
    """What the table of an artifact says of itself."""
    return {b"gpa.stage": stage, b"gpa.fingerprint": fingerprint}


class ArtifactStore:
    """Artifacts of all stages under one OUT, by stage, fingerprint and partition."""

    def __init__(self, store: Store):
        self.store = store

    @staticmethod
    def name(stage: str, fingerprint: str, partition: str, suffix: str = ".parquet") -> str:
        """The file of an artifact with that suffix: its table, `.tar`, `.arrow` or REJECTS."""
        return f"{stage}/{fingerprint}/{name_under(fingerprint, partition)}{suffix}"

    def done(self, stage: str, fingerprint: str, partitions: Iterable[str]) -> set[str]:
        """Those of the partitions whose artifact is whole: one listing, however many there are."""
        return self._with(".parquet", stage, fingerprint, partitions)

    def dropping(self, stage: str, fingerprint: str, partitions: Iterable[str]) -> set[str]:
        """Those with rejects, be their artifact whole or not: one listing, too."""
        return self._with(REJECTS, stage, fingerprint, partitions)

    def _with(
        self, suffix: str, stage: str, fingerprint: str, partitions: Iterable[str]
    ) -> set[str]:
        there = self._ending(stage, fingerprint, suffix)
        return {name for name in partitions if name_under(fingerprint, name) in there}

    def pruned(self, stage: str, fingerprint: str, partitions: Iterable[str]) -> set[str]:
        """Those whose artifact is whole but for its tar, which lies there no more."""
        there = self._ending(stage, fingerprint, ".tar")
        gone = [name for name in partitions if name_under(fingerprint, name) not in there]
        tables = self.tables(stage, fingerprint, gone, [])
        return {
            partition
            for partition, table in zip(gone, tables, strict=True)
            if TAR_SHA256 in (table.schema.metadata or {})
        }

    def prune(self, stage: str, fingerprint: str, partitions: Iterable[str] | None = None) -> int:
        """Delete the tars of these partitions, or of all; tables stay. Returns how many there were."""
        there = self._ending(stage, fingerprint, ".tar")
        if partitions is not None:
            there &= {name_under(fingerprint, name) for name in partitions}
        self.store.remove_all([f"{stage}/{fingerprint}/{name}.tar" for name in sorted(there)])
        return len(there)

    def _ending(self, stage: str, fingerprint: str, suffix: str) -> set[str]:
        """Names of a stage's files that end so, without that; `.parquet` is not also REJECTS."""
        names = self.store.names(f"{stage}/{fingerprint}")
        return {name.removesuffix(suffix) for name in names if name.endswith(suffix)}

    def exists(self, stage: str, fingerprint: str, partition: str) -> bool:
        """Whether a partition's artifact is whole."""
        return self.store.exists(self.name(stage, fingerprint, partition))

    def write(self, stage: str, fingerprint: str, partition: str, artifact: Artifact) -> None:
        """Commit an artifact; readers see all of it or nothing."""
        metadata: dict[bytes, str] = _metadata(stage, fingerprint)

        def put(suffix: str, data: bytes) -> None:
            metadata[SHA256[suffix]] = hashlib.sha256(data).hexdigest()
            self.store.write(self.name(stage, fingerprint, partition, suffix), data)

        if artifact.files:
            put(".tar", tar_bytes(artifact.files))
        if artifact.mapped is not None:
            put(".arrow", arrow_bytes(artifact.mapped))
        if artifact.rejects:
            rejects = [vars(reject) for reject in artifact.rejects]
            put(REJECTS, parquet_bytes(pa.Table.from_pylist(rejects, REJECT_SCHEMA)))
        table = artifact.table.replace_schema_metadata(metadata)
        self.store.write(self.name(stage, fingerprint, partition), parquet_bytes(table))

    def write_tables(self, stage: str, fingerprint: str, tables: Mapping[str, pa.Table]) -> None:
        """Commit artifacts, by partition, that are a table and nothing else."""
        metadata = _metadata(stage, fingerprint)
        partitions = list(tables)
        for start in range(0, len(partitions), WRITTEN_AT_ONCE):
            self.store.write_all(
                {
                    self.name(stage, fingerprint, partition): parquet_bytes(
                        tables[partition].replace_schema_metadata(metadata)
                    )
                    for partition in partitions[start : start + WRITTEN_AT_ONCE]
                }
            )

    def table(
        self, stage: str, fingerprint: str, partition: str, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """The rows of an artifact; all columns where none are named."""
        return self._parquet(stage, fingerprint, partition, ".parquet", columns)

    def tables(
        self,
        stage: str,
        fingerprint: str,
        partitions: Sequence[str],
        columns: Sequence[str] | None = None,
    ) -> Iterator[pa.Table]:
        """The rows of many artifacts, in order."""
        for partition in self.store.ahead(
            partitions, lambda partition: [self.name(stage, fingerprint, partition)]
        ):
            yield self.table(stage, fingerprint, partition, columns)

    def _parquet(
        self,
        stage: str,
        fingerprint: str,
        partition: str,
        suffix: str,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        data = self.store.read(self.name(stage, fingerprint, partition, suffix))
        try:
            return read_parquet(data, columns)
        except (OSError, pa.ArrowException) as error:
            artifact = self.name(stage, fingerprint, partition, "")
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
        rejects = self.rejects(stage, fingerprint, partition).to_pylist()
        files = self._files(stage, fingerprint, partition, table)
        return Artifact(table, files, [Reject(**row) for row in rejects])

    def files(self, stage: str, fingerprint: str, partition: str) -> TarFiles:
        """The files of an artifact, read when asked for: the first reading may raise DamageError."""
        about = self.table(stage, fingerprint, partition, [])
        return self._files(stage, fingerprint, partition, about)

    def _files(self, stage: str, fingerprint: str, partition: str, table: pa.Table) -> TarFiles:
        sha256 = (table.schema.metadata or {}).get(TAR_SHA256, b"").decode()
        tar = self.name(stage, fingerprint, partition, ".tar")
        return TarFiles(self.store, tar, sha256 or None)

    def sweep(self, stage: str, fingerprint: str) -> None:
        """Delete what workers that died in the middle of a write left behind; none may be alive."""
        self.store.sweep(f"{stage}/{fingerprint}")

    def remove(self, stage: str, fingerprint: str, partition: str) -> None:
        """Forget an artifact, so that the next run makes it again."""
        for suffix in (".parquet", *SHA256):
            self.store.remove(self.name(stage, fingerprint, partition, suffix))

    @contextlib.contextmanager
    def forgetting_damage(self) -> Iterator[None]:
        """Where something reads a damaged artifact, forget that artifact and say so."""
        try:
            yield
        except DamageError as damage:
            self.store.remove(f"{damage.artifact}.parquet")
            raise UserError(f"{damage}; the same command now makes it again.") from None

    def damaged(
        self, stage: str, fingerprint: str, partitions: Sequence[str], pruned: bool = False
    ) -> Iterator[tuple[str, str]]:
        """Those of the partitions whose artifact is not whole, and what is wrong with it.

        Where it was `pruned`, a tar need not be there.
        """
        tars = self._ending(stage, fingerprint, ".tar") if pruned else None
        for partition in self.store.ahead(
            partitions, lambda partition: [self.name(stage, fingerprint, partition)]
        ):
            tar = tars is None or name_under(fingerprint, partition) in tars
            if problem := self.damage(stage, fingerprint, partition, tar):
                yield partition, problem

    def damage(self, stage: str, fingerprint: str, partition: str, tar: bool = True) -> str | None:
        """What is wrong with an artifact's bytes, but for its tar's if that is not asked for."""
        place = self.name(stage, fingerprint, partition, "")
        try:
            table = self.table(stage, fingerprint, partition)
        except FileNotFoundError:
            return f"{place}.parquet is gone"
        except DamageError as damage:
            return str(damage)
        metadata = table.schema.metadata or {}
        try:
            for suffix, key in SHA256.items():
                if key in metadata and (tar or key != TAR_SHA256):
                    _open_checked(self.store, place, suffix, metadata[key].decode()).close()
        except DamageError as damage:
            return str(damage)
        return None
