"""`gpa tokenize`: curated shards to token shards, on the runtime that curation runs on.

One curated shard is one partition: its audio is decoded once, both tokenizers see it in batches
of similar length, and its tokens become one tar. What can't be tokenized is a reject with its
reason. The index comes last and makes the folder complete.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import soundfile
from numpy.typing import NDArray
from pydantic import Field

from gpa.curation.models.cache import user_cache
from gpa.curation.models.weights import sha256_of
from gpa.curation.package import CURATED, read_manifest
from gpa.runtime.config import Config, digest
from gpa.runtime.errors import UserError
from gpa.runtime.models import Facts, Weights
from gpa.runtime.stage import Artifact, Attempts, Reject, Stage
from gpa.runtime.storage import Store
from gpa.tokenize import small
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.clips import ClipError
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.shards import FACTS_SCHEMA, Utterance, UtteranceTokens, facts, members
from gpa.tokenize.vocabulary import Vocabulary

SMALL = "small"


class TokenizerConfig(Config):
    """Which checkpoints of the two tokenizers, and how much they work on at once.

    `bicodec` and `glm` are folders in the published layout or names on the hub; "small" makes
    small random ones from `seed`, for trying the chain without any weights.
    """

    bicodec: str = SMALL
    glm: str = SMALL
    seed: int = 0
    # Bounds memory: seconds of audio, padding included, in one batch of a tokenizer.
    max_batch_s: float = Field(120.0, gt=0)
    # Seconds of audio decoded at a time, among which clips of similar length find each other.
    portion_s: float = Field(1200.0, gt=0)

    @property
    def trained(self) -> bool:
        """Whether the tokens stand for anything."""
        return SMALL not in (self.bicodec, self.glm)


def checkpoint_folders(config: TokenizerConfig) -> tuple[Path, Path]:
    """Local folders of BiCodec and of the GLM tokenizer; raises UserError with the remedy."""
    random = small.small_tokenizers(user_cache(), config.seed) if not config.trained else None
    bicodec = random[0] if random and config.bicodec == SMALL else _found(config.bicodec)
    glm = random[1] if random and config.glm == SMALL else _found(config.glm)
    return bicodec, glm


def _found(name: str) -> Path:
    """A folder, or a repository on the hub, from the cache where it is there."""
    if Path(name).is_dir():
        return Path(name)
    if name.startswith(("/", ".", "~")) or name.count("/") != 1:
        raise UserError(f"There is no tokenizer checkpoint in {name}.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name))
    except Exception as error:  # the hub's errors have no common base that is public
        raise UserError(
            f"The tokenizer {name} is neither a folder nor to be had from the hub "
            f"({type(error).__name__}); download it and name its folder in pipelines.yaml."
        ) from None


@dataclass(frozen=True)
class Sample:
    """One entry of a curated shard: KEY.json, and the samples or why there are none."""

    metadata: dict[str, Any]
    waveform: NDArray[np.float32] | None
    sample_rate: int
    problem: str | None = None


class TokenizeStage(Stage):
    """curated -> tokens: one row an utterance (FACTS_SCHEMA), one pair of files each."""

    step = "tokenize"
    config: TokenizerConfig

    def models(self) -> Mapping[str, Facts]:
        """Both tokenizers, with the digest of their weights."""
        bicodec, glm = checkpoint_folders(self.config)
        return {
            "bicodec": _facts("BiCodec", bicodec, self.config.bicodec),
            "glm": _facts("GLM-4-Voice tokenizer", glm, self.config.glm),
        }

    def model_identity(self) -> str:
        """The tokenizers, and the vocabulary that text is written in."""
        return f"{super().model_identity()}; {Vocabulary.build().text_digest}"

    def load(self) -> None:
        """Load both tokenizers and the vocabulary."""
        bicodec, glm = checkpoint_folders(self.config)
        self._bicodec = BiCodec.load(bicodec, max_batch_s=self.config.max_batch_s)
        self._glm = GLMTokenizer.load(glm)
        self._vocabulary = Vocabulary.build()

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        """Tokenize one curated shard."""
        (shard,) = inputs["curated"].table.to_pylist()
        table, files, rejects, audio_s = [], {}, [], 0.0
        for portion in portions(read_samples(shard["uri"]), self.config.portion_s):
            safe = [s for s in portion if s.metadata["recording_id"] not in attempts.quarantined]
            rejects += [_reject(s, "quarantined") for s in portion if s not in safe]
            for group in [[s] for s in safe] if attempts.careful else [safe]:
                with attempts.on(sorted({s.metadata["recording_id"] for s in group})):
                    done, refused = self._tokenize(group)
                rejects += refused
                for utterance in done:
                    table.append(facts(utterance))
                    files |= members(utterance)
            audio_s += sum(sample.metadata["duration_s"] for sample in portion)
        return Artifact(pa.Table.from_pylist(table, FACTS_SCHEMA), files, rejects, audio_s)

    def _tokenize(self, samples: Sequence[Sample]) -> tuple[list[Utterance], list[Reject]]:
        """Tokens of all samples that have any, and rejects for the others."""
        usable, semantic_clips, glm_clips, refused = [], [], [], []
        for number, sample in enumerate(samples):
            if sample.waveform is None:
                refused.append(_reject(sample, "unreadable", sample.problem))
                continue
            try:
                semantic = self._bicodec.prepare(number, sample.waveform, sample.sample_rate)
                glm = self._glm.prepare(number, sample.waveform, sample.sample_rate)
            except ClipError as error:
                refused.append(_reject(sample, "no_tokens", error.reason))
                continue
            usable.append(sample)
            semantic_clips.append(semantic)
            glm_clips.append(glm)
        done = [
            _utterance(sample.metadata, self._vocabulary, codec, glm)
            for sample, codec, glm in zip(
                usable,
                self._bicodec.encode_prepared(semantic_clips),
                self._glm.encode_prepared(glm_clips),
                strict=True,
            )
        ]
        return done, refused


def _utterance(
    metadata: Mapping[str, Any], vocabulary: Vocabulary, codec: Any, glm: Any
) -> Utterance:
    folders = PurePosixPath(metadata["source"]).parts[:-1]
    return Utterance(
        utterance_id=metadata["utterance_id"],
        speaker=metadata["speaker"],
        language=metadata["language"],
        # Mixtures are weighed by the corpus's top folders.
        source=folders[0] if folders else ".",
        text=metadata["text"],
        duration_s=metadata["duration_s"],
        tokens=UtteranceTokens(
            text_tokens=vocabulary.encode_text(metadata["text"]).astype(np.int32),
            glm_tokens=glm.astype(np.uint16),
            semantic_tokens=codec.semantic_tokens.astype(np.uint16),
            global_tokens=codec.global_tokens.astype(np.uint16),
        ),
    )


def _reject(sample: Sample, reason: str, detail: str | None = None) -> Reject:
    metadata = sample.metadata
    return Reject(
        metadata["recording_id"],
        reason,
        metadata["duration_s"],
        utterance_id=metadata["utterance_id"],
        start_s=metadata["start_s"],
        end_s=metadata["end_s"],
        detail=detail,
    )


def read_samples(uri: str) -> Iterator[Sample]:
    """Entries of a curated shard, in order; audio that can't be decoded is a problem, no error."""
    with fsspec.open(uri, "rb") as file, tarfile.open(fileobj=file, mode="r|") as tar:
        audio: dict[str, bytes] = {}
        for member in tar:
            key, _, kind = member.name.partition(".")
            content = tar.extractfile(member)
            data = content.read() if content else b""
            if kind == "flac":
                audio = {key: data}
            elif kind == "json":
                yield _sample(json.loads(data), audio.get(key, b""))


def _sample(metadata: dict[str, Any], flac: bytes) -> Sample:
    try:
        waveform, rate = soundfile.read(io.BytesIO(flac), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        return Sample(metadata, None, 0, f"{type(error).__name__}: {error}")
    return Sample(metadata, waveform.T, rate)


def portions(samples: Iterator[Sample], portion_s: float) -> Iterator[list[Sample]]:
    """Samples in their order, about `portion_s` seconds at a time."""
    held: list[Sample] = []
    for sample in samples:
        held.append(sample)
        if sum(s.metadata["duration_s"] for s in held) >= portion_s:
            yield held
            held = []
    if held:
        yield held


def curated_shards(curated: str) -> dict[str, pa.Table]:
    """Partitions of a curated OUT (or its folder `curated`), each with the table of its shard.

    Raises UserError where there is no finished run.
    """
    out = curated.rstrip("/").removesuffix(f"/{CURATED}")
    out = "." if out == CURATED else out
    store = Store(out)
    try:
        manifest, checksums = read_manifest(store)
    except FileNotFoundError:
        raise UserError(
            f"{curated} holds no curated shards; make them with `make curate`, or name another "
            "OUT with CURATED=."
        ) from None
    if not manifest.num_rows:
        raise UserError(f"{curated} holds no utterance: nothing was kept, so nothing to tokenize.")
    seconds = manifest.group_by("shard").aggregate([("duration_s", "sum")])
    audio_s = dict(
        zip(seconds["shard"].to_pylist(), seconds["duration_s_sum"].to_pylist(), strict=True)
    )
    schema = pa.schema([("uri", pa.string()), ("sha256", pa.string()), ("seconds", pa.float64())])
    return {
        f"{name}-{checksum[:12]}": pa.Table.from_pylist(
            [
                {
                    "uri": store.filesystem.unstrip_protocol(store.path(f"{CURATED}/{name}.tar")),
                    "sha256": checksum,
                    "seconds": audio_s[name],
                }
            ],
            schema,
        )
        for name, checksum in checksums.items()
    }


def _facts(model: str, folder: Path, name: str) -> Facts:
    """A checkpoint's identity: the digest of every file in it that holds weights or config."""
    hashes = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for pattern in ("*.safetensors", "*.bin", "*.json", "*.yaml")
        for path in sorted(folder.rglob(pattern))
    }
    origin = "made here" if name == SMALL else "folder" if Path(name).is_dir() else "hub"
    licence = "none needed" if name == SMALL else "see the checkpoint's own card"
    weights = Weights(name, origin, str(folder), digest(hashes), licence)
    return Facts(f"{model} {name}", "gpa", licence, (weights,))
