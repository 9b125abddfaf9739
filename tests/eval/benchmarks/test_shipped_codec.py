"""The shipped codec keeps words and exchanges voices: people that it learnt, clips that it never met."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gpa.curation.audio import decode
from gpa.curation.curated import CuratedUtterance
from gpa.curation.models.quality.dnsmos import DNSMOS, DNSMOSConfig
from gpa.eval.benchmarks.recognition import english_words
from gpa.eval.benchmarks.resynthesis import Resynthesis, measure
from gpa.eval.config import read_config
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.weights import SMALL_BICODEC
from gpa.train.judges import Judges
from tests.curation.curated_out import flac

# What the card says was left out of its training, by folder.
LEFT_OUT = {
    "en_lj": [f"LJ001-{number:04}" for number in range(2, 33, 2)],
    "en_libri": [
        f"{chapter}-{number:04}"
        for chapter in ("367-130732", "2609-156975", "3331-159605")
        for number in (8, 9)
    ],
}


def left_out(speech: Path, folder: str) -> list[CuratedUtterance]:
    """The clips as if they had been curated, by the texts of their corpora."""
    clips = []
    for line in (speech / "manifest.jsonl").read_text().splitlines():
        row = json.loads(line)
        path = Path(row["path"])
        if path.parent.name == folder and path.stem in LEFT_OUT[folder]:
            samples, sample_rate = decode(str(speech / path))
            metadata = {
                "utterance_id": path.stem,
                "speaker": row["speaker"],
                "language": "en",
                "text": row["text"],
                "duration_s": samples.shape[-1] / sample_rate,
            }
            clips.append(CuratedUtterance(metadata, flac(samples[0], sample_rate)))
    return clips


@pytest.fixture(scope="module")
def clips(shared_speech) -> dict[str, list[CuratedUtterance]]:
    return {folder: left_out(shared_speech, folder) for folder in LEFT_OUT}


@pytest.fixture(scope="module")
def figures(clips) -> dict[str, Resynthesis]:
    judges = Judges.load(read_config(Path("pipelines.yaml")), ["en"], "eval")
    scorer = DNSMOS(DNSMOSConfig())
    scorer.load()
    codec = BiCodec.load(SMALL_BICODEC)
    found = {
        folder: measure(each, codec, judges.by_language["en"], scorer, judges.encoder)
        for folder, each in clips.items()
    }
    for folder, each in found.items():
        assert (each.utterances, each.left_out) == (len(LEFT_OUT[folder]), 0)
    return found


@pytest.mark.slow
def test_of_what_its_reader_says_at_most_ten_points_of_wer_are_lost(figures):
    found = figures["en_lj"]
    assert found.wer_codec.value <= found.wer_original.value + 0.10


@pytest.mark.slow
def test_nor_are_more_of_all_that_its_speakers_say(clips, figures):
    words = [
        sum(len(english_words(clip.metadata["text"])) for clip in clips[folder])
        for folder in LEFT_OUT
    ]
    lost = [
        figures[folder].wer_codec.value - figures[folder].wer_original.value for folder in LEFT_OUT
    ]
    assert np.average(lost, weights=words) <= 0.10


@pytest.mark.slow
def test_voices_that_it_knows_are_exchanged(figures):
    found = figures["en_libri"]
    assert found.nearer_converted is not None
    assert found.nearer_converted.value >= 0.8
