"""A small curated OUT of real speech, with utterances among it that no tokenizer can use."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile

from gpa.curation.models.weights import wheel_file
from gpa.curation.shards import MANIFEST_SCHEMA, Shard, write_shard
from gpa.curation.tables import MEASURES
from gpa.runtime.storage import Store
from tests.curation.plans import missing_shards

SPOKEN = ("counting", "hello_world", "quick_brown_fox")


def spoken(name: str) -> tuple[np.ndarray, int]:
    file = f"pytest_audioeval/samples/audio/en/{name}.wav"
    return soundfile.read(wheel_file("pytest-audioeval", file), dtype="float32")


def flac(samples: np.ndarray, sample_rate: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="FLAC")
    return buffer.getvalue()


def entry(number: int, audio: bytes, duration_s: float, text: str) -> dict[str, Any]:
    """An utterance as curation describes it, with its audio."""
    return {
        "utterance_id": f"recording{number}-000000000",
        "recording_id": f"recording{number}",
        "source": f"corpus/day {number}.wav" if number else "top.wav",
        "start_s": 0.0,
        "end_s": duration_s,
        "duration_s": duration_s,
        "speaker": f"recording{number}-S0",
        "language": "en",
        "text": text,
        "flac": audio,
    }


def good_entries() -> list[dict[str, Any]]:
    entries = []
    for number, name in enumerate(SPOKEN):
        samples, rate = spoken(name)
        entries.append(entry(number, flac(samples, rate), len(samples) / rate, f"<|im_end|>{name}"))
    return entries


def bad_entries() -> list[tuple[str, dict[str, Any]]]:
    """Utterances without tokens, each with what the reject says of it."""
    samples, rate = spoken("counting")
    whole = flac(samples, rate)
    audio = [
        ("Format not recognised.", b"no FLAC at all", 1.0),
        ("Format not recognised.", b"", 0.0),
        ("lost sync", whole[: len(whole) // 2], len(samples) / rate),
        ("0.50 s of audio for 2.00 s", flac(np.full(4000, 0.1), 8000), 2.0),
        ("it has 100 samples", flac(np.full(100, 0.1), 16000), 100 / 16000),
        ("max_batch_s is 40", flac(np.full(41 * 8000, 0.1), 8000), 41.0),
    ]
    return [
        (said, entry(10 + number, data, duration_s, "text"))
        for number, (said, data, duration_s) in enumerate(audio)
    ]


def write_curated(out: Path, shards: list[list[dict[str, Any]]]) -> Path:
    """A curated OUT, laid out as `gpa curate` leaves it."""
    store = Store(str(out))
    planned = [
        Shard(f"shard-{number:06d}", ((f"part-{number}", 0, len(entries)),))
        for number, entries in enumerate(shards)
    ]
    missing_shards(store, "1", planned)
    for shard, entries in zip(planned, shards, strict=True):
        rows, files = [], {}
        for each in entries:
            metadata = {key: value for key, value in each.items() if key != "flac"}
            files[f"{each['utterance_id']}.flac"] = each["flac"]
            files[f"{each['utterance_id']}.json"] = json.dumps(metadata).encode()
            rows.append(
                {
                    **dict.fromkeys([*MEASURES, "corrected_by"]), **metadata, "pwer": None, "confidence": None, "snr_db": 30.0, "mos": None,
                    "kept_version": "normalized", "sample_rate": 24000,
                    "bytes": len(each["flac"]), "shard": shard.name,
                }
            )  # fmt: skip
        write_shard(store, shard, files, pa.Table.from_pylist(rows, MANIFEST_SCHEMA))
    return out
