"""`gpa eval` as a person runs it: on a model that knows five utterances by heart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from gpa.curation.audio import encode_flac, resample
from gpa.eval.benchmarks.run import parse_sets
from gpa.runtime.errors import UserError
from gpa.runtime.execution import Resources
from gpa.tokenize import run as tokenizing
from gpa.tokenize.weights import TokenizerConfig
from gpa.train.command import prepare, read_config, train
from tests.curation.curated_out import entry, write_curated
from tests.curation.models.asr.samples import sample_clip, sample_text
from tests.in_process import QUIET, gpa, without_ray
from tests.runs import ROOT, short_answers

CLIPS = ("en/counting", "en/hello_world", "en/quick_brown_fox", "zh/jishu", "zh/nihao_shijie")
CURATED_RATE = 24_000
STEPS = 110


def curated(folder: Path) -> Path:
    """A curated OUT of short clips at the rate that curation keeps."""
    entries = []
    for number, clip in enumerate(CLIPS):
        waveform = resample(sample_clip(clip), 16_000, CURATED_RATE)
        audio = encode_flac(waveform, CURATED_RATE)
        made = entry(number, audio, len(waveform) / CURATED_RATE, sample_text(clip))
        # The package has one voice a language.
        entries.append(made | {"language": clip[:2], "speaker": f"{clip[:2]}-{number % 2}"})
    return write_curated(folder, [entries])


def learn_by_heart(tokens: Path, out: Path) -> Path:
    """A tiny model that recognises all that is in the shards."""
    config = read_config(ROOT / "train" / "by_heart.yaml")
    return train(
        prepare(config, model="tiny", phase="pretrain", tokens=tokens, out=out, steps=STEPS)
    )


@pytest.mark.slow
def test_what_was_learnt_by_heart_is_recognised_without_an_error(tmp_path):
    out = curated(tmp_path / "out")
    tokens = tmp_path / "tokens"
    with without_ray(tokenizing):
        random = TokenizerConfig(bicodec="random", glm="random")
        tokenizing.tokenize(str(out), tokens, random, Resources(), QUIET)
    checkpoint = learn_by_heart(tokens, tmp_path / "run")

    printed = gpa(
        *("eval", "--checkpoint", checkpoint, "--set", f"curated={out}", "--tokenizer", "random"),
        # A second of speech at most: this model never learnt to stop.
        *("--out", tmp_path / "run", "--config", short_answers(tmp_path, tts=50, vc=50)),
    )
    assert "tables.md" in printed
    results = json.loads((tmp_path / "run" / "eval" / "results.json").read_text(encoding="utf-8"))
    assert not results["system"]["trained"]
    by_set = {(found["set"], found["task"]): found for found in results["sets"]}
    assert set(by_set) == {
        (f"curated-{language}", task) for language in ("en", "zh") for task in ("asr", "tts", "vc")
    }
    for (name, task), found in by_set.items():
        assert found["failed"] == {}
        first, second, *_ = found["figures"]
        assert first["metric"] == ("WER" if name == "curated-en" else "CER")
        assert first["estimate"]["count"] == found["utterances"] == (3 if "en" in name else 2)
        if task == "asr":
            assert first["estimate"]["value"] == second["estimate"]["value"] == 0
        else:
            assert second["metric"] == "SIM"
            assert any("means nothing" in reason for reason in first["reservations"])
            said = list((tmp_path / "run" / "eval" / "audio" / f"{name}-{task}").glob("*.wav"))
            assert len(said) == found["utterances"]
            assert all(soundfile.info(path).samplerate == 16_000 for path in said)
    text = (tmp_path / "run" / "eval" / "tables.md").read_text(encoding="utf-8")
    assert "0.00 (0.00 to 0.00)" in text
    assert "GPA-0.3B-preview" in text

    gpa(
        *("eval", "--checkpoint", checkpoint, "--set", f"tokens={tokens}"),
        *("--out", tmp_path / "tokens-alone", "--tokenizer", "published"),
    )
    results = json.loads((tmp_path / "tokens-alone" / "eval" / "results.json").read_text("utf-8"))
    # The published tokenizers are not here: none is loaded, and the tokens say who made them.
    assert not results["system"]["trained"]
    assert [found["set"] for found in results["sets"]] == ["tokens-en", "tokens-zh"]
    assert all(found["figures"][0]["estimate"]["value"] == 0 for found in results["sets"])


def test_sets_are_named_with_their_folders():
    assert parse_sets(["curated=out", "librispeech=/data/a=b"]) == [
        ("curated", "out"),
        ("librispeech", "/data/a=b"),
    ]
    for wrong in ("curated", "curated="):
        with pytest.raises(UserError, match="write NAME=FOLDER"):
            parse_sets([wrong])


def test_without_a_checkpoint_nothing_starts(tmp_path):
    out = curated(tmp_path / "out")
    with pytest.raises(UserError, match="holds no checkpoint"):
        gpa(
            "eval",
            "--checkpoint",
            tmp_path / "none",
            "--set",
            f"curated={out}",
            "--out",
            tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()
