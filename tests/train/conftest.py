"""Token shards: of made-up speech with real sentences, and of real speech."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import torch

from gpa.curation.models.weights import wheel_file
from gpa.curation.sample import AUDIOEVAL
from gpa.runtime.stage import Artifact, NoAttempts
from gpa.runtime.storage import tar_bytes
from gpa.tokenize.job import TokenizeStage
from gpa.tokenize.shards import (
    Provenance,
    TokenShards,
    Utterance,
    UtteranceTokens,
    read_shard,
    write_index,
    write_shard,
)
from gpa.tokenize.vocabulary import Vocabulary
from gpa.tokenize.weights import TokenizerConfig

SENTENCES = (
    "Mister Quilter is the apostle of the middle classes.",
    "We are glad to welcome his gospel.",
    "甚至出现交易几乎停滞的情况。",
    "一二线城市虽然也处于调整中。",
    "He hoped there would be stew for dinner.",
    "Nor is his manner less interesting than his matter!",
    "可是他没有来",
    "Stuff it into you, his belly counselled him.",
)


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order, whatever machine the tests run on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return Vocabulary.build()


MakeShards = Callable[..., TokenShards]


@pytest.fixture(scope="session")
def make_shards(vocabulary: Vocabulary) -> MakeShards:
    """Write `count` utterances of up to `longest` semantic tokens by `speakers` speakers."""

    def make(
        folder: Path, count: int, *, speakers: int = 4, longest: int = 60, trained: bool = True
    ) -> TokenShards:
        rng = np.random.default_rng(0)
        utterances = []
        for number in range(count):
            frames = int(rng.integers(4, longest + 1))
            text = SENTENCES[number % len(SENTENCES)]
            if number >= len(SENTENCES):
                text = f"{text} {number}"
            utterances.append(
                Utterance(
                    utterance_id=f"recording-{number:09d}",
                    speaker=f"speaker-{number % speakers}",
                    language="en" if text.isascii() else "zh",
                    source=("books", "calls")[number % 2],
                    text=text,
                    duration_s=frames / 50,
                    tokens=UtteranceTokens(
                        text_tokens=vocabulary.encode_text(text),
                        glm_tokens=rng.integers(0, 16_384, -(-frames // 4), dtype=np.uint16),
                        semantic_tokens=rng.integers(0, 8_192, frames, dtype=np.uint16),
                        global_tokens=rng.integers(0, 4_096, 32, dtype=np.uint16),
                    ),
                )
            )
        folder.mkdir(parents=True, exist_ok=True)
        half = count // 2
        index = write_shard(folder / "shard-000000.tar", utterances[:half])
        index += write_shard(folder / "shard-000001.tar", utterances[half:])
        provenance = Provenance(vocabulary.text_digest, "bicodec", "glm", trained)
        write_index(folder, index, provenance)
        return TokenShards(folder)

    return make


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
    """Sixteen utterances of real speech, as the tokenize job makes them with `small`."""
    scratch, folder = (tmp_path_factory.mktemp(name) for name in ("curated", "speech"))
    curated = scratch / "clips.tar"
    content = tar_bytes(curated_clips())
    curated.write_bytes(content)
    stage = TokenizeStage("tokens", TokenizerConfig(), ["curated"])
    stage.load()
    shard = Artifact(
        pa.table({"uri": [str(curated)], "sha256": [hashlib.sha256(content).hexdigest()]})
    )
    made = stage.process("clips", {"curated": shard}, NoAttempts())
    assert not made.rejects
    tar = scratch / "tokens.tar"
    tar.write_bytes(tar_bytes(made.files))
    index = write_shard(folder / "shard-000000.tar", read_shard(tar))
    write_index(folder, index, Provenance(vocabulary.text_digest, "small", "small", False))
    return TokenShards(folder)
