"""What stands in a test set is found by its text and by its audio, and little else is."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet
from rich.console import Console

from gpa.curation import audio
from gpa.curation.export.contamination import read_test_set
from gpa.curation.export.fingerprint import Fingerprints
from gpa.curation.export.run import export
from gpa.curation.normalize import NormalizeConfig, normalize
from gpa.runtime.errors import UserError
from tests.curation.curated_out import good_entries, write_curated
from tests.curation.sounds import encoded

SAID = "the quick brown fox jumps over the lazy dog near the bank"


def clips(shared_speech: Path) -> list[tuple[str, np.ndarray, int]]:
    files = sorted(
        file for folder in ("en_libri", "en_lj") for file in (shared_speech / folder).glob("*.flac")
    )
    found = [(file.name, *soundfile.read(file, dtype="float32")) for file in files]
    assert len(found) > 30
    return found


def mp3(waveform: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    at = audio.resample(waveform, rate, 24000)
    return soundfile.read(io.BytesIO(encoded(at, "mp3", "libmp3lame", 24000)), dtype="float32")


def cut(waveform: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    return waveform[rate // 2 : rate // 2 + 2 * rate], rate


def faster(waveform: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    return waveform, round(1.1 * rate)


def a_little_faster(waveform: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    return waveform, round(1.03 * rate)


def slower(waveform: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    return waveform, round(0.9 * rate)


class TestAudio:
    @pytest.fixture(scope="class")
    def planted(self, shared_speech) -> list:
        return clips(shared_speech)[::9]

    @pytest.fixture(scope="class")
    def known(self, planted) -> Fingerprints:
        return Fingerprints.of(planted)

    @pytest.mark.parametrize("changed", [mp3, cut, faster, a_little_faster, slower])
    def test_every_planted_copy_is_found_after_the_pipelines_own_changes(
        self, known, planted, changed: Callable
    ):
        for name, waveform, rate in planted:
            copy, at = changed(waveform, rate)
            heard = normalize(copy[None], at, NormalizeConfig()).waveform
            assert known.find(heard, 24000) == name

    def test_no_other_clip_is_taken_for_a_copy(self, known, planted, shared_speech):
        names = {name for name, *_ in planted}
        others = [clip for clip in clips(shared_speech) if clip[0] not in names]
        assert [name for name, waveform, rate in others if known.find(waveform, rate)] == []

    def test_silence_and_scraps_are_no_copies(self, known):
        for samples in (0, 100, 24000):
            assert known.find(np.zeros(samples, np.float32), 24000) is None
        assert Fingerprints.of([]).find(np.ones(24000, np.float32), 24000) is None


class TestText:
    @pytest.fixture
    def found(self, tmp_path) -> Callable[[str, str], str | None]:
        (tmp_path / "1-2.trans.txt").write_text(f"1-2-0 {SAID.upper()}\n1-2-1 THANK YOU\n")
        (tmp_path / "meta.lst").write_text(
            "a|Say it once more please.|p.wav|今天天气很好我们去公园散步吧\n"
        )
        (tmp_path / "manifest.jsonl").write_text(json.dumps({"text": "I paid 20 dollars for it."}))
        return read_test_set(tmp_path).find_text

    def test_copies_are_found_however_they_are_written_and_cut(self, found):
        for text in (SAID, "Well: the quick, brown fox jumps over the LAZY dog!"):
            assert found(text, "en") == "1-2.trans.txt, line 1"
        assert found("say it once more, please", "en") == "meta.lst, line 1, prompt"
        assert found("I paid twenty dollars for it", "en") == "manifest.jsonl, line 1"
        assert found("今天天气很好，我们去公园散步吧！", "zh") == "meta.lst, line 1"

    def test_what_anyone_says_and_what_shares_a_few_words_is_no_copy(self, found):
        others = (
            "Thank you.",
            "",
            "the quick brown fox sleeps near the lazy dog",
            "Say it once more.",
        )
        assert [found(text, "en") for text in others] == [None] * 4
        assert found("今天天气很好", "zh") is None


def test_an_export_leaves_out_and_lists_what_stands_in_the_test_set(tmp_path):
    first, second, third = (each | {"sample_rate": 16000} for each in good_entries())
    first["text"] = f"And {SAID}."
    test_set = tmp_path / "test"
    test_set.mkdir()
    (test_set / "manifest.jsonl").write_text(json.dumps({"text": SAID}))
    (test_set / "copy.flac").write_bytes(third["flac"])
    curated = write_curated(tmp_path / "out", [[first], [second, third]])

    def run(out: str, contamination: Path | None) -> dict:
        quiet = Console(quiet=True)
        return export(str(curated), "lhotse", str(tmp_path / out), None, quiet, (), contamination)

    books = run("a", test_set)
    assert (books["utterances"], books["left_out"], books["contaminated"]) == (1, 2, 2)
    lines = (tmp_path / "a/contaminated.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"utterance_id": first["utterance_id"], "by": "text", "found_in": "manifest.jsonl, line 1"},
        {"utterance_id": third["utterance_id"], "by": "audio", "found_in": "copy.flac"},
    ]
    # Of the first shard nothing is left, and its files are there: readers expect no gap.
    cuts = list(CutSet.from_shar(in_dir=str(tmp_path / "a/data")))
    assert [cut.id for cut in cuts] == [second["utterance_id"]]
    assert cuts[0].load_audio().size

    books = run("a", None)
    assert (books["utterances"], books["contaminated"]) == (3, 0)
    assert not (tmp_path / "a/contaminated.jsonl").exists()


def test_a_folder_without_a_test_set_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no test set"):
        read_test_set(tmp_path)
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    with pytest.raises(UserError, match="holds no curated shards"):
        export(
            str(tmp_path), "lhotse", str(tmp_path / "o"), None, Console(quiet=True), (), tmp_path
        )
