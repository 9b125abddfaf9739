"""Token shards: of made-up speech with real sentences, and of real speech."""

from __future__ import annotations

import hashlib
import io
import json

import pyarrow as pa
import pytest
import soundfile

from gpa.curation.ingest.sample import AUDIOEVAL
from gpa.curation.models.weights import wheel_file
from gpa.runtime.artifacts import tar_bytes
from gpa.runtime.stage import Artifact, NoAttempts
from gpa.tokenize.job import TokenizeStage
from gpa.tokenize.shards import (
    Provenance,
    TokenShards,
    write_index,
    write_shard,
)
from gpa.tokenize.vocabulary import Vocabulary
from gpa.tokenize.weights import TokenizerConfig
from tests.models import (
    bicodec,
    make_shards,
    one_thread,
    small_folders,
    tiny_model,
    vocabulary,
)

__all__ = ["bicodec", "make_shards", "one_thread", "small_folders", "tiny_model", "vocabulary"]


CLIPS_FOLDER = "pytest_audioeval/samples/audio"
LONGEST_CLIP_S = 3.2


def curated_clips() -> dict[str, bytes]:
    """A curated shard of the short clips, in nine languages, of the sample corpus' package."""
    folder = wheel_file(AUDIOEVAL, f"{CLIPS_FOLDER}/en/counting.wav").parents[1]
    files = {}
    for clip in sorted(folder.glob("*/*.wav")):
        waveform, sample_rate = soundfile.read(clip, dtype="float32")
        duration_s = len(waveform) / sample_rate
        if duration_s > LONGEST_CLIP_S:
            continue
        language, key = clip.parent.name, f"{clip.parent.name}-{clip.stem}"
        metadata = {
            "utterance_id": key,
            "recording_id": key,
            "source": f"clips/{clip.name}",
            "start_s": 0.0,
            "end_s": duration_s,
            "duration_s": duration_s,
            # The package has one voice a language.
            "speaker": language,
            "language": language,
            "text": clip.with_suffix(".txt").read_text(encoding="utf-8").strip(),
        }
        flac = io.BytesIO()
        soundfile.write(flac, waveform, sample_rate, format="FLAC")
        files[f"{key}.flac"] = flac.getvalue()
        files[f"{key}.json"] = json.dumps(metadata).encode()
    return files


@pytest.fixture(scope="session")
def speech_shards(vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> TokenShards:
    """Sixteen utterances of real speech, as the tokenize job makes them with `random`."""
    scratch, folder = (tmp_path_factory.mktemp(name) for name in ("curated", "speech"))
    curated = scratch / "clips.tar"
    content = tar_bytes(curated_clips())
    curated.write_bytes(content)
    stage = TokenizeStage("tokens", TokenizerConfig(bicodec="random"), ["curated"])
    stage.load()
    shard = Artifact(
        pa.table({"uri": [str(curated)], "sha256": [hashlib.sha256(content).hexdigest()]})
    )
    made = stage.process("clips", {"curated": shard}, NoAttempts())
    assert not made.rejects
    index = write_shard(folder / "shard-000000.arrow", made.mapped)
    write_index(folder, [index], Provenance(vocabulary.text_digest, "small", "small", False))
    return TokenShards(folder)
