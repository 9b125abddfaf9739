"""The formats of other trainers: each turns a shard's utterances into files.

A format writes the files of one shard from that shard alone, so that an export goes on where it
was interrupted; what stands over all shards is made last, of what they left.
"""

from __future__ import annotations

import gzip
import heapq
import io
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment
from lhotse.supervision import AlignmentItem

from gpa.curation.curated import CuratedUtterance
from gpa.runtime.storage import Store
from gpa.runtime.tar import tar_bytes

# Rows that a viewer fetches at once: their audio is some tens of megabytes.
PARQUET_GROUP = 100


class Format:
    """One format; `version` is raised when the same utterances give other bytes."""

    version = 1

    def files(self, number: int, utterances: Sequence[CuratedUtterance]) -> dict[str, bytes]:
        """The files of shard `number`, which counts from 0 without gaps, by name."""
        raise NotImplementedError

    def close(self, store: Store, shards: int) -> dict[str, bytes]:
        """The files over all `shards`, where the format has any."""
        return {}


class HuggingFaceParquet(Format):
    """Parquet with a playable `audio` column, as `datasets` and the hub's viewer read it."""

    features = datasets.Features(
        {
            "utterance_id": datasets.Value("string"),
            "audio": datasets.Audio(),
            "text": datasets.Value("string"),
            "speaker": datasets.Value("string"),
            "language": datasets.Value("string"),
            "duration_s": datasets.Value("float64"),
            "recording_id": datasets.Value("string"),
            "source": datasets.Value("string"),
            "start_s": datasets.Value("float64"),
            "end_s": datasets.Value("float64"),
            "pwer": datasets.Value("float64"),
            "confidence": datasets.Value("float64"),
            "snr_db": datasets.Value("float64"),
        }
    )

    def files(self, number: int, utterances: Sequence[CuratedUtterance]) -> dict[str, bytes]:
        plain = [name for name in self.features if name != "audio"]
        table = [
            {name: each.metadata.get(name) for name in plain}
            | {"audio": {"bytes": each.flac, "path": f"{each.metadata['utterance_id']}.flac"}}
            for each in utterances
        ]
        buffer = io.BytesIO()
        pq.write_table(
            pa.Table.from_pylist(table, self.features.arrow_schema),
            buffer,
            row_group_size=PARQUET_GROUP,
        )
        return {f"train-{number:06d}.parquet": buffer.getvalue()}


class LhotseShar(Format):
    """Lhotse Shar: cuts as JSON lines, their FLACs in a tar of the same order."""

    def files(self, number: int, utterances: Sequence[CuratedUtterance]) -> dict[str, bytes]:
        """`cuts.NNNNNN.jsonl.gz` and `recording.NNNNNN.tar`, which `CutSet.from_shar` reads."""
        cuts, audio = [], {}
        for each in utterances:
            cut = _cut(each)
            key = cut["id"]
            cuts.append(json.dumps(cut, ensure_ascii=False))
            audio[f"{key}.flac"] = each.flac
            audio[f"{key}.json"] = json.dumps(cut["recording"]).encode()
        # Without the time of day in its header the same cuts are the same bytes.
        lines = gzip.compress(_lines(cuts), mtime=0)
        return {
            f"cuts.{number:06d}.jsonl.gz": lines,
            f"recording.{number:06d}.tar": tar_bytes(audio),
        }


def _cut(utterance: CuratedUtterance) -> dict[str, Any]:
    """The cut of one utterance as Lhotse writes it, its audio to be found in the tar."""
    about = utterance.metadata
    key, rate = about["utterance_id"], about["sample_rate"]
    samples = soundfile.info(io.BytesIO(utterance.flac)).frames
    source = AudioSource(type="shar", channels=[0], source="")
    recording = Recording(key, [source], rate, samples, samples / rate, channel_ids=[0])
    words = [
        AlignmentItem(word["word"], word["start_s"], round(word["end_s"] - word["start_s"], 4))
        for word in about.get("words", ())
    ]
    supervision = SupervisionSegment(
        key,
        key,
        start=0.0,
        duration=recording.duration,
        channel=0,
        text=about["text"],
        language=about["language"],
        speaker=about["speaker"],
        alignment={"word": words} if words else None,
        custom={name: about.get(name) for name in ("pwer", "confidence", "source")},
    )
    return MonoCut(
        key, 0.0, recording.duration, 0, supervisions=[supervision], recording=recording
    ).to_dict()


@dataclass(frozen=True)
class NeMo(Format):
    """NeMo's tarred audio: one tar a shard, a manifest of all, and one for each shard.

    With `ends_s` all that in a folder for each bucket: `bucket1` has what is shorter than the first
    of them, the last what is not shorter than any. A bucket has a tar of every shard.
    """

    ends_s: tuple[float, ...] = ()

    @property
    def _folders(self) -> list[str]:
        return [f"bucket{k + 1}/" for k in range(len(self.ends_s) + 1)] if self.ends_s else [""]

    def files(self, number: int, utterances: Sequence[CuratedUtterance]) -> dict[str, bytes]:
        """`audio_N.tar` and `sharded_manifests/manifest_N.json`, in each bucket."""
        buckets: list[list[CuratedUtterance]] = [[] for _ in self._folders]
        for each in utterances:
            buckets[bisect_right(self.ends_s, each.duration_s)].append(each)
        return {
            f"{folder}{name}": data
            for folder, bucket in zip(self._folders, buckets, strict=True)
            for name, data in self._bucket(number, bucket).items()
        }

    def _bucket(self, number: int, utterances: Sequence[CuratedUtterance]) -> dict[str, bytes]:
        audio = {f"{each.metadata['utterance_id']}.flac": each.flac for each in utterances}
        lines = [
            json.dumps(
                {
                    "audio_filepath": name,
                    "duration": each.duration_s,
                    "text": each.metadata["text"],
                    "lang": each.metadata["language"],
                    "speaker": each.metadata["speaker"],
                    "shard_id": number,
                },
                ensure_ascii=False,
            )
            for name, each in zip(audio, utterances, strict=True)
        ]
        return {
            f"audio_{number}.tar": tar_bytes(audio),
            f"sharded_manifests/manifest_{number}.json": _lines(lines),
        }

    def close(self, store: Store, shards: int) -> dict[str, bytes]:
        """`tarred_audio_manifest.json` in each bucket: its manifests, one after the other."""
        made = {}
        for folder in self._folders:
            parts = [
                f"{folder}sharded_manifests/manifest_{number}.json" for number in range(shards)
            ]
            made[f"{folder}tarred_audio_manifest.json"] = b"".join(map(store.read, parts))
        return made


class Kaldi(Format):
    """A Kaldi data folder over WAV files, sorted as Kaldi's checks demand.

    Kaldi wants utterances and speakers in the same order: the utterance's name begins with the
    speaker's, which holds nothing that sorts before the hyphen between them.
    """

    tables = ("text", "utt2spk", "utt2dur", "utt2lang", "wav.scp")

    def files(self, number: int, utterances: Sequence[CuratedUtterance]) -> dict[str, bytes]:
        """WAV files, and this shard's part of each table."""
        audio: dict[str, bytes] = {}
        parts: dict[str, list[str]] = {name: [] for name in self.tables}
        for each in utterances:
            speaker = re.sub(r"[^\w.]", "_", each.metadata["speaker"])
            key = f"{speaker}-{each.metadata['utterance_id']}"
            wav = f"wav/{number:06d}/{key}.wav"
            audio[wav] = _wav(each.flac)
            said = " ".join(each.metadata["text"].split())
            values = said, speaker, f"{each.duration_s:.6f}", each.metadata["language"], wav
            for name, value in zip(self.tables, values, strict=True):
                parts[name].append(f"{key} {value}")
        return audio | {
            f"parts/{number:06d}/{name}": _lines(sorted(lines, key=str.encode))
            for name, lines in parts.items()
        }

    def close(self, store: Store, shards: int) -> dict[str, bytes]:
        """The parts merged, and `spk2utt`; paths in `wav.scp` are below the folder's own."""
        merged = {name: list(self._merged(store, name, shards)) for name in self.tables}
        spoken: dict[str, list[str]] = {}
        for line in merged["utt2spk"]:
            key, speaker = line.split(" ")
            spoken.setdefault(speaker, []).append(key)
        merged["spk2utt"] = [f"{speaker} {' '.join(keys)}" for speaker, keys in spoken.items()]
        merged["wav.scp"] = [
            f"{key} {store.path(wav)}"
            for key, _, wav in (line.partition(" ") for line in merged["wav.scp"])
        ]
        return {name: _lines(lines) for name, lines in merged.items()}

    def _merged(self, store: Store, name: str, shards: int) -> Iterator[str]:
        parts = [
            store.read(f"parts/{number:06d}/{name}").decode().splitlines()
            for number in range(shards)
        ]
        return heapq.merge(*parts, key=str.encode)


class Emilia(Format):
    """WebDataset tars with the fields of the Emilia data set."""

    def files(self, number: int, utterances: Sequence[CuratedUtterance]) -> dict[str, bytes]:
        """`NNNNNN.tar` of `KEY.flac` beside `KEY.json`."""
        members: dict[str, bytes] = {}
        for each in utterances:
            about = each.metadata
            key = about["utterance_id"]
            kept = (about.get("mos") or {}).get(about["kept_version"]) or {}
            fields = {
                "id": key,
                "wav": f"{key}.flac",
                "text": about["text"],
                "duration": each.duration_s,
                "speaker": about["speaker"],
                "language": about["language"],
                "dnsmos": kept.get("overall"),
            }
            members[f"{key}.flac"] = each.flac
            members[f"{key}.json"] = json.dumps(fields, ensure_ascii=False).encode()
        return {f"{number:06d}.tar": tar_bytes(members)}


FORMATS: Mapping[str, Format] = {
    "parquet": HuggingFaceParquet(),
    "lhotse": LhotseShar(),
    "nemo": NeMo(),
    "kaldi": Kaldi(),
    "emilia": Emilia(),
}


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _wav(flac: bytes) -> bytes:
    samples, rate = soundfile.read(io.BytesIO(flac), dtype="int16")
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
