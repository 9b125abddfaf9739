"""What is left of speech after a codec: every usable utterance is judged twice, none else."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from gpa.curation.curated import CuratedUtterance, read_curated
from gpa.curation.models.protocols import MOS
from gpa.eval.benchmarks.resynthesis import measure
from gpa.runtime.errors import UserError
from tests.curation.curated_out import entry, flac, write_curated
from tests.models import make_speech


class Judge:
    """Hears three words of the first clips, and two of them in what comes later."""

    def __init__(self, clips: int):
        self.said = ["good old days"] * clips + ["good old"] * clips

    def transcribe(self, waveforms, sample_rate, languages):
        assert sample_rate == 16_000
        return [SimpleNamespace(text=self.said.pop(0)) for _ in waveforms]


class Scorer:
    def score(self, waveforms, sample_rate):
        return [MOS(overall=float(len(each) > 0)) for each in waveforms]


def utterance(number: int, audio: bytes, seconds: float, speaker: str = "one") -> CuratedUtterance:
    metadata = entry(number, audio, seconds, "Good old days!") | {"speaker": speaker}
    flac_bytes = metadata.pop("flac")
    return CuratedUtterance(json.loads(json.dumps(metadata)), flac_bytes)


class Encoder:
    """Tells voices by their length: those of clips of one second are one, all others another."""

    name = "by length"

    def embed(self, waveform):
        return np.eye(2)[int(len(waveform) > 17_000)]


def test_originals_and_what_came_through_are_judged_by_the_labels(tokenizers):
    clips = [utterance(n, flac(make_speech(16_000, n), 16_000), 1.0) for n in range(2)]
    clips.append(utterance(2, b"no FLAC", 1.0))
    clips.append(utterance(3, flac(make_speech(8_000), 16_000), 0.5))
    found = measure(clips, tokenizers[0], Judge(2), Scorer(), Encoder())
    assert (found.utterances, found.left_out, found.seconds) == (2, 2, 2.0)
    assert found.voice_codec.value == 1
    assert found.wer_converted is None
    assert found.wer_original.value == 0
    assert found.wer_codec.value == pytest.approx(1 / 3)
    assert found.mos_original == found.mos_codec == 1
    assert found.encoding_speed > 0
    assert found.decoding_speed > 0
    assert "33.3%" in "\n".join(found.lines())


def test_what_is_said_with_anothers_global_tokens_is_compared_with_both_voices(tokenizers):
    """A codec keeps lengths, and so to an encoder that goes by them it converts nothing."""
    clips = []
    for number, (speaker, samples) in enumerate([("one", 16_000), ("other", 32_000)]):
        audio = flac(make_speech(samples, number), 16_000)
        clips.append(utterance(number, audio, samples / 16_000, speaker))
    judge = Judge(2)
    judge.said += ["good"] * 2
    found = measure(clips, tokenizers[0], judge, Scorer(), Encoder())
    assert found.nearer_converted.value == 0
    assert found.wer_converted.value == pytest.approx(2 / 3)
    assert "0.0% (0.0% to 0.0%) nearer to it" in "\n".join(found.lines())


def test_a_set_is_read_as_long_as_there_is_a_curated_one(tmp_path):
    audio = flac(make_speech(8_000), 16_000)
    out = write_curated(tmp_path, [[entry(n, audio, 0.5, "text") for n in range(3)]])
    assert len(list(read_curated(str(out)))) == 3
    with pytest.raises(UserError, match="make curate"):
        next(read_curated(str(tmp_path / "nowhere")))
