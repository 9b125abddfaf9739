"""Token shards: the WebDataset tars that training reads instead of audio, and their index.

An utterance is two files that lie side by side in a tar: `KEY.tokens.safetensors` (its ids and
codes) and `KEY.json` (who, what, how long). safetensors rather than npz: one header and raw bytes
instead of a zip archive for each array, read ten times faster. `index.parquet` has one row an
utterance: what a mixture is chosen by, and where in which tar the tokens lie, so that training
reads any utterance with one positioned read and never scans a tar.
"""

from __future__ import annotations

import io
import json
import mmap
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from gpa.curation.models.weights import sha256_of
from gpa.runtime.artifacts import parquet_bytes
from gpa.runtime.errors import UserError
from gpa.runtime.storage import Store

INDEX = "index.parquet"
TOKENS_SUFFIX = ".tokens.safetensors"
FORMAT = 1

FACTS_SCHEMA = pa.schema(
    [
        pa.field("utterance_id", pa.string(), nullable=False),
        pa.field("speaker", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),  # the corpus it came from
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("text_tokens", pa.int32(), nullable=False),
        pa.field("glm_tokens", pa.int32(), nullable=False),
        pa.field("semantic_tokens", pa.int32(), nullable=False),
    ]
)
INDEX_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),  # path of the tar below the index
        pa.field("offset", pa.int64(), nullable=False),  # of the tokens' bytes in the tar
        pa.field("bytes", pa.int64(), nullable=False),
        *FACTS_SCHEMA,
    ]
)


@dataclass(frozen=True)
class UtteranceTokens:
    """What the model sees of an utterance.

    `text_tokens` holds ids of the text block, int32; the others hold codes, uint16: `glm_tokens`
    (12.5 a second), `semantic_tokens` (50 a second), `global_tokens` (32 of its first 6 s).
    """

    text_tokens: NDArray[np.int32]
    glm_tokens: NDArray[np.uint16]
    semantic_tokens: NDArray[np.uint16]
    global_tokens: NDArray[np.uint16]


@dataclass(frozen=True)
class Utterance:
    """A tokenized utterance on its way into a shard; `utterance_id` becomes its key."""

    utterance_id: str
    speaker: str
    language: str
    source: str
    text: str
    duration_s: float
    tokens: UtteranceTokens


@dataclass(frozen=True)
class Provenance:
    """What tokens are made of: shards of another vocabulary or codec do not mix.

    `text_digest` is `Vocabulary.text_digest`; `bicodec` and `glm` name the tokenizers' weights;
    `trained` is false where they are random weights for trying the chain.
    """

    text_digest: str
    bicodec: str
    glm: str
    trained: bool

    def check_vocabulary(self, text_digest: str, where: str) -> None:
        """Raises UserError where the tokens in `where` are of another vocabulary than this."""
        if self.text_digest != text_digest:
            raise UserError(
                f"The token shards in {where} were made with another vocabulary "
                f"({self.text_digest}, not {text_digest}); run `make tokenize` with this one."
            )


def write_shard(path: Path, utterances: Iterable[Utterance]) -> list[dict[str, Any]]:
    """Write one tar, deterministic to the byte, and return its rows of the index.

    Raises ValueError for a key that WebDataset would cut (it has a dot) or that comes twice.
    """
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for utterance in utterances:
            key = utterance.utterance_id
            if "." in key or "/" in key or not key:
                raise ValueError(f"{key!r} can't be a key of a WebDataset: no dot, no slash")
            if key in seen:
                raise ValueError(f"{key!r} comes twice in one shard")
            seen.add(key)
            (name, tokens), about = members(utterance).items()
            offset = _add(tar, name, tokens)
            _add(tar, *about)
            place = {"shard": path.name, "offset": offset, "bytes": len(tokens)}
            rows.append(place | facts(utterance))
    return rows


def members(utterance: Utterance) -> dict[str, bytes]:
    """The two files of an utterance, by name, in the order in which a tar holds them."""
    key = utterance.utterance_id
    tokens = {name: np.ascontiguousarray(array) for name, array in vars(utterance.tokens).items()}
    about = facts(utterance) | {"text": utterance.text}
    return {
        f"{key}{TOKENS_SUFFIX}": safetensors.numpy.save(tokens),
        f"{key}.json": json.dumps(about, ensure_ascii=False, sort_keys=True).encode(),
    }


def write_index(folder: Path, rows: Iterable[Mapping[str, Any]], provenance: Provenance) -> None:
    """Write the index of all shards in `folder`; it comes last, and makes the folder complete."""
    Store(str(folder)).write(INDEX, parquet_bytes(index_table(rows, provenance)))


def index_table(rows: Iterable[Mapping[str, Any]], provenance: Provenance) -> pa.Table:
    """The index as a table, in the order of the tars, with its provenance in the metadata."""
    remaining = iter(rows)
    # Rows of millions of utterances fit in memory as a table, not as dictionaries.
    parts = [INDEX_SCHEMA.empty_table()]
    while some := list(islice(remaining, 100_000)):
        parts.append(pa.Table.from_pylist([dict(row) for row in some], INDEX_SCHEMA))
    table = pa.concat_tables(parts).sort_by([("shard", "ascending"), ("offset", "ascending")])
    about = {"format": FORMAT} | asdict(provenance)
    return table.replace_schema_metadata({"gpa.tokens": json.dumps(about, sort_keys=True)})


def read_shard(path: Path) -> Iterator[Utterance]:
    """All utterances of a tar, in order; for audits, training reads by the index."""
    with tarfile.open(path) as tar:
        members = iter(tar)
        for first, second in zip(members, members, strict=True):
            tokens, facts = (_read_member(tar, member) for member in (first, second))
            about = json.loads(facts)
            yield Utterance(
                tokens=_tokens_from(tokens),
                **{
                    name: about[name] for name in Utterance.__dataclass_fields__ if name != "tokens"
                },
            )


class TokenShards:
    """A folder of token shards, read by position.

    `index` is its table (INDEX_SCHEMA); `provenance` says what made the tokens. Cheap to hand to
    another process: files are opened where they are read. Raises UserError for a folder that
    holds no finished shards.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            self.index = pq.read_table(folder / INDEX)
        except FileNotFoundError:
            raise UserError(
                f"{folder} holds no token shards (no {INDEX}); make them with `make tokenize`."
            ) from None
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{folder / INDEX} can't be read: {error}.") from None
        about = json.loads((self.index.schema.metadata or {}).get(b"gpa.tokens", b"{}"))
        if about.pop("format", None) != FORMAT:
            raise UserError(
                f"{folder / INDEX} is no token index of this version; run `make tokenize` again."
            )
        self.provenance = Provenance(**about)
        self._offsets = self.index["offset"].to_numpy()
        self._sizes = self.index["bytes"].to_numpy()
        names = self.index["shard"].combine_chunks().dictionary_encode()
        self._shards, self._names = names.indices.to_numpy(), names.dictionary.to_pylist()
        self._open: dict[int, mmap.mmap] = {}

    def __len__(self) -> int:
        return self.index.num_rows

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}

    @property
    def fingerprint(self) -> str:
        """Names the data: the digest of its index, which says who is in it and what made it."""
        return sha256_of(self.folder / INDEX)[:12]

    def tokens(self, row: int) -> UtteranceTokens:
        """Tokens of the utterance in this row of the index.

        Raises UserError where the tar has been cut or replaced since the index was written.
        """
        offset = int(self._offsets[row])
        shard = int(self._shards[row])
        try:
            return _tokens_from(self._mapped(shard)[offset : offset + int(self._sizes[row])])
        except (safetensors.SafetensorError, KeyError):
            raise UserError(
                f"{self.folder / self._names[shard]} does not hold what {INDEX} says (cut or "
                "replaced?); run `make tokenize` again."
            ) from None

    def _mapped(self, shard: int) -> mmap.mmap:
        if shard not in self._open:
            path = self.folder / self._names[shard]
            try:
                with path.open("rb") as file:
                    self._open[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise UserError(f"Token shard {path} can't be read: {error}.") from None
        return self._open[shard]


def facts(utterance: Utterance) -> dict[str, Any]:
    """A row of FACTS_SCHEMA: what the index and the JSON beside the tokens say of an utterance."""
    return {
        "utterance_id": utterance.utterance_id,
        "speaker": utterance.speaker,
        "language": utterance.language,
        "source": utterance.source,
        "duration_s": utterance.duration_s,
        "text_tokens": len(utterance.tokens.text_tokens),
        "glm_tokens": len(utterance.tokens.glm_tokens),
        "semantic_tokens": len(utterance.tokens.semantic_tokens),
    }


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Append a file; returns where in the tar its bytes start. Neither time nor owner enter."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
    return tar.offset - -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    if file is None:
        raise ValueError(f"{member.name} is no file")
    return file.read()


def _tokens_from(data: bytes) -> UtteranceTokens:
    return UtteranceTokens(**safetensors.numpy.load(data))
