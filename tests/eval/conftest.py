"""A small OUT with known errors and its ground truth; a model that generates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import Qwen3ForCausalLM

from gpa.curation.audio import encode_flac
from gpa.curation.consensus.stage import ConsensusConfig, PanelConfig
from gpa.curation.segment.stage import SegmentConfig
from gpa.eval.generation.generate import Generator
from gpa.eval.labels.outputs import Output, read_output
from gpa.runtime import record
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.storage import Store
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.glm import GLMTokenizer
from gpa.train.generation.decoding import TransformersEngine
from gpa.train.generation.language_model import GenerationConfig, LanguageModel
from tests.models import (
    make_shards,
    make_speech,
    one_thread,
    small_folders,
    tiny_model,
    vocabulary,
)
from tests.tables import artifact

__all__ = ["make_shards", "one_thread", "small_folders", "tiny_model", "vocabulary"]

RATE = 16000
# (utterance, start, end, speaker, pWER, what the ASRs heard, the text after the pause rule or
# None where consensus dropped it).
CUTS = (
    ("a", 0.9, 4.1, "s0", 0.10, ("The cat sat on a mat.", "the cat sat on the mat"),
     "The cat sat on a mat."),
    ("b", 4.9, 8.1, "s0", 0.40, ("green fish", "red fish swim in cold seas"), None),
    ("c", 8.9, 12.1, "s1", 0.00, ("Good morning, everyone, please sit down",) * 2,
     "Good morning everyone, please sit down"),
)  # fmt: skip
TURNS: tuple[dict[str, Any], ...] = (
    {"start": 1.0, "end": 4.0, "speaker": "ann", "text": "The cat sat on the mat."},
    {"start": 5.0, "end": 8.0, "speaker": "ann", "text": "red fish swim in cold seas"},
    {"start": 9.0, "end": 12.0, "speaker": "bob", "text": "Good morning, everyone. Please sit down."},
    {"start": 11.5, "end": 13.0, "speaker": "cid", "text": "hello there"},
)  # fmt: skip


def bursts(seconds: float, spans: list[tuple[float, float]]) -> np.ndarray:
    """Loud noise in the spans, faint noise elsewhere, shape (samples,)."""
    waveform = np.random.default_rng(0).normal(0, 0.0005, round(seconds * RATE))
    for start_s, end_s in spans:
        part = slice(round(start_s * RATE), round(end_s * RATE))
        waveform[part] *= 400
    return waveform.astype(np.float32)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A finished run over one recording of 20 s, cut three times, two of them kept."""
    folder = tmp_path / "out"
    store = Store(str(folder))
    artifacts = ArtifactStore(store)
    asrs = ("one", "two")
    named = dict.fromkeys(
        ("recordings", "normalized", "utterances", "quality", "consensus", "alignment"), "f"
    ) | {f"hypotheses/{asr}": "f" for asr in asrs}

    def write(name: str, *rows: dict[str, Any], files: dict[str, bytes] | None = None) -> None:
        artifacts.write(name, "f", "p", artifact(name, *rows, files=files))

    waveform = bursts(20.0, [(turn["start"], turn["end"]) for turn in TURNS])
    write("recordings", {"recording_id": "r", "path": "talk/mix.wav"})
    whole = {"recording_id": "r", "duration_s": 20.0, "sample_rate": RATE}
    write("normalized", whole, files={"r.flac": encode_flac(waveform, RATE)})
    cuts = [
        {"utterance_id": key, "recording_id": "r", "start_s": start, "end_s": end, "speaker": who}
        for key, start, end, who, *_ in CUTS
    ]
    clips = {
        f"{key}.normalized.flac": encode_flac(
            waveform[round(start * RATE) : round(end * RATE)], RATE
        )
        for key, start, end, *_ in CUTS
    }
    write("utterances", *cuts, files=clips)
    mos = {"overall": 3.0, "signal": 3.5, "background": 4.0}
    better = {"overall": 3.5, "signal": 3.4, "background": 4.2}
    versions = ("denoised", "denoised", "normalized")
    scores = [
        {"utterance_id": cut["utterance_id"], "kept_version": version,
         "normalized_mos": mos, "denoised_mos": better}
        for cut, version in zip(cuts, versions, strict=True)
    ]  # fmt: skip
    write("quality", *scores)
    for number, asr in enumerate(asrs):
        said = [{"utterance_id": row[0], "asr": asr, "text": row[5][number]} for row in CUTS]
        write(f"hypotheses/{asr}", *said)
    decided = [
        {"utterance_id": key, "language": "en", "voters": list(asrs), "pwer": pwer,
         "kept": after is not None, "reason": None if after else "disagreement", "text": heard[0]}
        for key, _, _, _, pwer, heard, after in CUTS
    ]  # fmt: skip
    write("consensus", *decided)
    aligned = [
        {"utterance_id": key, "text_before": heard[0], "text": after}
        for key, _, _, _, _, heard, after in CUTS
        if after
    ]
    write("alignment", *aligned)
    panels = {"en": PanelConfig(voters=asrs)}
    content = {
        "layout_version": record.LAYOUT_VERSION,
        "finished": True,
        "fingerprints": named,
        "partitions": ["p"],
        "config": {
            "consensus": ConsensusConfig(panels=panels).model_dump(mode="json"),
            "segment": SegmentConfig().model_dump(mode="json"),
            "transcribe": {
                "identifier": "one",
                "asr": {
                    asr: {"model": "whisper", "weights": f"{tmp_path}/no-{asr}"} for asr in asrs
                },
            },
        },
    }
    store.write(record.NAME, json.dumps(content).encode())
    return folder


@pytest.fixture
def output(out: Path) -> Output:
    return read_output(str(out))


@pytest.fixture
def truth_folder(tmp_path: Path) -> Path:
    """The turns of the recording, with noise marked over the second."""
    folder = tmp_path / "truth"
    folder.mkdir()
    lines = (json.dumps(turn) for turn in TURNS)
    (folder / "mix.jsonl").write_text("\n".join(lines), encoding="utf-8")
    noise = {"noise": [{"start": 4.0, "end": 8.5}]}
    (folder / "mix.regions.json").write_text(json.dumps(noise), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tokenizers(small_folders: tuple[Path, Path]) -> tuple[BiCodec, GLMTokenizer]:
    """The small random tokenizers, as `gpa` loads them."""
    bicodec, glm = small_folders
    return BiCodec.load(bicodec, max_batch_s=40), GLMTokenizer.load(glm)


@pytest.fixture(scope="session")
def make_model(tiny_model, vocabulary) -> Callable[..., LanguageModel]:
    """A model of short answers; settings of tasks, such as `tts={...}`, change its own."""

    def make(model: Qwen3ForCausalLM = tiny_model, **settings: Any) -> LanguageModel:
        tasks: dict[str, Any] = {
            "asr": {"max_new_tokens": 12},
            "tts": {"temperature": 1.0, "repetition_penalty": 1.2, "max_new_tokens": 12},
            "vc": {"max_new_tokens": 12},
        }
        config = GenerationConfig.model_validate(tasks | settings)
        return LanguageModel(TransformersEngine(model), vocabulary, config)

    return make


@pytest.fixture(scope="session")
def make_generator(make_model, tokenizers) -> Callable[..., Generator]:
    """A generator over `make_model`, of the same arguments."""

    def make(*model: Qwen3ForCausalLM, **settings: Any) -> Generator:
        return Generator(make_model(*model, **settings), *tokenizers, trained=False)

    return make


@pytest.fixture(scope="session")
def voice() -> np.ndarray:
    """Two seconds of something with a pitch, (samples,) at 16 kHz."""
    return make_speech(2 * RATE, seed=1)
