"""What is heard twice in a corpus is listed, and left out the second time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console

from gpa.curation import audio
from gpa.curation.export.fingerprint import Fingerprints
from gpa.curation.export.repeats import sharing_words
from gpa.curation.export.run import export
from tests.curation.curated_out import entry, flac, good_entries, spoken, write_curated
from tests.curation.export.test_contamination import clips, mp3

NOTICE = "this programme was brought to you by a company that sells shoes"


def test_what_shares_a_stretch_of_words_is_compared_and_nothing_else():
    texts = [NOTICE, f"And now: {NOTICE.upper()}!", "Thank you.", "Thank you.", NOTICE[:25]]
    rows = [{"utterance_id": n, "text": said, "language": "en"} for n, said in enumerate(texts)]
    assert sharing_words(rows) == {0, 1}


def test_copies_of_real_speech_are_repeats_of_the_first_and_others_are_not(shared_speech):
    known = clips(shared_speech)[::4]
    copies = [(f"copy of {name}", *mp3(waveform, rate)) for name, waveform, rate in known[::4]]
    found = Fingerprints.of([*known, *copies], speeds=(1.0,)).repeats()
    assert found == {name: name.removeprefix("copy of ") for name, *_ in copies}


def test_an_export_lists_what_was_heard_before_and_leaves_it_out_where_asked(tmp_path: Path):
    first, other, _ = (each | {"sample_rate": 16000} for each in good_entries())
    first["text"] = NOTICE
    samples, rate = spoken("counting")
    softer = 0.5 * audio.resample(samples.astype(np.float32), rate, 22050)
    again = entry(7, flac(softer, 22050), len(softer) / 22050, f"So {NOTICE}.")
    same_words = entry(8, other["flac"], other["duration_s"], NOTICE) | {"sample_rate": 16000}
    again["sample_rate"] = 22050
    curated = write_curated(tmp_path / "out", [[first, other], [again, same_words]])
    quiet = Console(quiet=True)

    def run(repeats: Literal["list", "drop"] | None) -> dict:
        to = str(tmp_path / "to")
        return export(str(curated), "lhotse", to, None, quiet, (), None, repeats)

    for repeats, exported in (("drop", 3), ("list", 4)):
        books = run(repeats)
        counts = (books["utterances"], books["left_out"], books["repeated"])
        assert counts == (exported, 4 - exported, 1)
        (line,) = (tmp_path / "to" / "repeated.jsonl").read_text().splitlines()
        assert json.loads(line) == {
            "utterance_id": again["utterance_id"],
            "repeats": first["utterance_id"],
        }
    assert run(None)["utterances"] == 4
    assert not (tmp_path / "to" / "repeated.jsonl").exists()
