"""The shipped codec keeps words and exchanges voices: people that it learnt, clips that it never met."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpa.curation.audio import decode
from gpa.curation.curated import CuratedUtterance
from gpa.curation.models.quality.dnsmos import DNSMOS, DNSMOSConfig
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


def through_the_codec(speech: Path, folder: str) -> Resynthesis:
    """Figures of clips that were left out, as if they had been curated, by the texts of their corpora."""
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
                "text": row["text"].lower(),
                "duration_s": samples.shape[-1] / sample_rate,
            }
            clips.append(CuratedUtterance(metadata, flac(samples[0], sample_rate)))
    judges = Judges.load(read_config(Path("pipelines.yaml")), ["en"], "eval")
    scorer = DNSMOS(DNSMOSConfig())
    scorer.load()
    codec = BiCodec.load(SMALL_BICODEC)
    found = measure(clips, codec, judges.by_language["en"], scorer, judges.encoder)
    assert (found.utterances, found.left_out) == (len(LEFT_OUT[folder]), 0)
    return found


@pytest.mark.slow
def test_of_what_its_reader_says_at_most_ten_points_of_wer_are_lost(shared_speech):
    found = through_the_codec(shared_speech, "en_lj")
    assert found.wer_codec.value <= found.wer_original.value + 0.10


@pytest.mark.slow
def test_voices_that_it_knows_are_exchanged(shared_speech):
    found = through_the_codec(shared_speech, "en_libri")
    assert found.nearer_converted is not None
    assert found.nearer_converted.value >= 0.8
