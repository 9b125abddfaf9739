"""What is left of speech after a codec: every usable utterance is judged twice, none else."""

from __future__ import annotations

import json
from types import SimpleNamespace

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


def utterance(number: int, audio: bytes, seconds: float) -> CuratedUtterance:
    metadata = entry(number, audio, seconds, "Good old days!")
    flac_bytes = metadata.pop("flac")
    return CuratedUtterance(json.loads(json.dumps(metadata)), flac_bytes)


def test_originals_and_what_came_through_are_judged_by_the_labels(tokenizers):
    clips = [utterance(n, flac(make_speech(8_000, n), 16_000), 0.5) for n in range(2)]
    clips.append(utterance(2, b"no FLAC", 1.0))
    found = measure(clips, tokenizers[0], Judge(2), Scorer())
    assert (found.utterances, found.seconds) == (2, 1.0)
    assert found.wer_original.value == 0
    assert found.wer_codec.value == pytest.approx(1 / 3)
    assert found.mos_original == found.mos_codec == 1
    assert found.encoding_speed > 0
    assert found.decoding_speed > 0
    assert "33.3%" in "\n".join(found.lines())


def test_a_set_is_read_as_long_as_there_is_a_curated_one(tmp_path):
    audio = flac(make_speech(8_000), 16_000)
    out = write_curated(tmp_path, [[entry(n, audio, 0.5, "text") for n in range(3)]])
    assert len(list(read_curated(str(out)))) == 3
    with pytest.raises(UserError, match="make curate"):
        next(read_curated(str(tmp_path / "nowhere")))
