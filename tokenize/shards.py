"""Token shards: what training reads instead of audio, and the index of them.

A shard is one Arrow file, uncompressed, a row an utterance: lists of its ids and codes, and what a
mixture is chosen by. It is mapped into memory as it lies on the disk, so any utterance is read by
its number without a header, an index of files or a scan; `datasets` and pyarrow read it, too.
`index.parquet` has one row a shard, and comes last: where it is, all is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gpa.curation.models.weights import sha256_of
from gpa.runtime.artifacts import arrow_bytes, parquet_bytes
from gpa.runtime.errors import UserError
from gpa.runtime.storage import Store
from gpa.tokenize.sequences import GLOBAL_TOKENS

INDEX = "index.parquet"
# The folder of the vocabulary that text was encoded with.
VOCABULARY = "vocabulary"
FORMAT = 2
# Shards mapped at a time; Linux allows a process some 65,000 maps.
MAPPED_SHARDS = 8192
LISTS = ("text_tokens", "glm_tokens", "semantic_tokens")

TOKENS_SCHEMA = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in {
            "utterance_id": pa.string(),
            "speaker": pa.string(),
            "speaker_key": pa.uint64(),  # see `speaker_key`
            "language": pa.string(),
            "source": pa.string(),  # the corpus it came from
            "text": pa.string(),
            "duration_s": pa.float64(),
            "text_tokens": pa.list_(pa.int32()),
            "glm_tokens": pa.list_(pa.uint16()),
            "semantic_tokens": pa.list_(pa.uint16()),
            "global_tokens": pa.list_(pa.uint16(), GLOBAL_TOKENS),
        }.items()
    ]
)
# What is in one shard; the tokens are counted.
TOTALS_SCHEMA = pa.schema(
    [
        pa.field("utterances", pa.int64(), nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in LISTS),
    ]
)
INDEX_SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),  # path of the file below the index
        pa.field("sha256", pa.string(), nullable=False),
        *TOTALS_SCHEMA,
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
    """A tokenized utterance on its way into a shard."""

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


def speaker_key(speaker: str) -> int:
    """A number for a speaker's name, evenly spread over 64 bits: it decides who is held back."""
    return int.from_bytes(hashlib.sha256(speaker.encode()).digest()[:8], "big")


def token_rows(utterances: Sequence[Utterance]) -> pa.RecordBatch:
    """The rows of a shard, in TOKENS_SCHEMA."""
    columns = []
    for field in TOKENS_SCHEMA:
        if field.name == "speaker_key":
            column = [speaker_key(utterance.speaker) for utterance in utterances]
        elif field.name in UtteranceTokens.__dataclass_fields__:
            column = [getattr(utterance.tokens, field.name) for utterance in utterances]
        else:
            column = [getattr(utterance, field.name) for utterance in utterances]
        columns.append(pa.array(column, field.type))
    return pa.record_batch(columns, TOKENS_SCHEMA)


def shard_totals(rows: pa.RecordBatch) -> dict[str, Any]:
    """What is in a shard: a row of TOTALS_SCHEMA."""
    return {
        "utterances": rows.num_rows,
        "duration_s": float(np.sum(rows["duration_s"].to_numpy())),
        **{name: len(rows[name].flatten()) for name in LISTS},
    }


def write_shard(path: Path, rows: pa.RecordBatch) -> dict[str, Any]:
    """Write one shard, deterministic to the byte; returns its row of the index."""
    data = arrow_bytes(rows)
    path.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    return {"shard": path.name, "sha256": sha256, **shard_totals(rows)}


def write_index(folder: Path, shards: Iterable[Mapping[str, Any]], provenance: Provenance) -> None:
    """Write the index of all shards in `folder`, rows of INDEX_SCHEMA; it makes it complete."""
    table = pa.Table.from_pylist(sorted(shards, key=lambda row: row["shard"]), INDEX_SCHEMA)
    about = json.dumps({"format": FORMAT} | asdict(provenance), sort_keys=True)
    Store(str(folder)).write(
        INDEX, parquet_bytes(table.replace_schema_metadata({"gpa.tokens": about}))
    )


class TokenShards:
    """A folder of token shards, its utterances numbered through all of them.

    `index` is the table of shards (INDEX_SCHEMA), `starts` the number of the first utterance of
    each and, last, how many there are; `provenance` says what made the tokens. Handed to another
    process it is a path: files are mapped where they are read. Raises UserError for a folder that
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
        self.starts = np.concatenate([[0], np.cumsum(self.index["utterances"].to_numpy())])
        self._mapped = lru_cache(MAPPED_SHARDS)(self._map)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __reduce__(self) -> tuple[type[TokenShards], tuple[Path]]:
        return TokenShards, (self.folder,)

    @property
    def fingerprint(self) -> str:
        """Names the data: the digest of its index, which has the checksum of every shard."""
        return sha256_of(self.folder / INDEX)[:12]

    def shards(self) -> Iterator[pa.RecordBatch]:
        """The rows of each shard (TOKENS_SCHEMA), mapped from the disk and not copied."""
        for shard in range(self.index.num_rows):
            yield self._mapped(shard).rows

    def table(self, columns: Sequence[str]) -> pa.Table:
        """These columns of all shards as one table, mapped: for corpora of some shards."""
        schema = pa.schema([TOKENS_SCHEMA.field(name) for name in columns])
        return pa.Table.from_batches([rows.select(columns) for rows in self.shards()], schema)

    def tokens(self, number: int) -> UtteranceTokens:
        """Tokens of one utterance, views of the mapped file.

        Raises UserError where the shard has been cut or replaced since the index was written.
        """
        mapped, row = self._place(number)
        (text, glm, semantic) = (
            values[offsets[row] : offsets[row + 1]] for offsets, values in mapped.lists
        )
        return UtteranceTokens(text, glm, semantic, mapped.global_tokens[row])

    def text(self, number: int) -> tuple[str, str]:
        """Transcript and language of one utterance."""
        mapped, row = self._place(number)
        return mapped.rows["text"][row].as_py(), mapped.rows["language"][row].as_py()

    def _place(self, number: int) -> tuple[_MappedShard, int]:
        """The shard of an utterance, and its row there."""
        shard = int(np.searchsorted(self.starts, number, side="right")) - 1
        return self._mapped(shard), number - int(self.starts[shard])

    def _map(self, shard: int) -> _MappedShard:
        path = self.folder / self.index["shard"][shard].as_py()
        try:
            # The map outlives the file handle, of which a process may have few.
            with pa.memory_map(str(path)) as file:
                rows = pa.ipc.open_file(file).get_batch(0)
        except pa.ArrowInvalid:
            rows = None
        except OSError as error:
            raise UserError(f"Token shard {path} can't be read: {error}.") from None
        if rows is None or rows.num_rows != self.starts[shard + 1] - self.starts[shard]:
            raise UserError(
                f"{path} does not hold what {INDEX} says (cut or replaced?); run `make tokenize` "
                "again."
            )
        return _MappedShard(rows)


class _MappedShard:
    """The rows of a shard, and their lists as offsets and values."""

    def __init__(self, rows: pa.RecordBatch):
        self.rows = rows
        self.lists = [
            (rows[name].offsets.to_numpy(), rows[name].values.to_numpy()) for name in LISTS
        ]
        self.global_tokens = rows["global_tokens"].values.to_numpy().reshape(-1, GLOBAL_TOKENS)
