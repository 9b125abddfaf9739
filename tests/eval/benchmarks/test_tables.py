"""The tables: published rows as they were published, ours beneath, and nothing invented."""

from __future__ import annotations

from gpa.curation.intervals import Estimate, mean
from gpa.eval.benchmarks.datasets import Item, TestSet
from gpa.eval.benchmarks.published import published
from gpa.eval.benchmarks.scoring import Figure
from gpa.eval.benchmarks.tables import DAGGER, UNTRAINED, Measured, System, tables

SYSTEM = System("GPA tiny", 11_844_224, "checkpoints/tiny-pretrain/checkpoint-100", "small", True)
SPREAD = {"mean": 0.25, "p50": 0.2, "p99": 0.5}
LATENCY = {
    "tasks": {
        "tts": {"at_once": [{"at_once": 5, "first_s": SPREAD, "rtf": SPREAD, "audio_s": 6.4}]},
        "asr": {"at_once": [{"at_once": 5, "first_s": SPREAD, "total_s": None}]},
    }
}


def measured(name: str, task: str, metric: str, estimate: Estimate, *reasons: str) -> Measured:
    test_set = TestSet(name, task, "en", (Item("a", "text"),), published_size=2620)
    return Measured(test_set, (Figure(metric, estimate, "how", reservations=reasons),), {})


def row(text: str, start: str) -> list[str]:
    """Cells of the first row that starts so."""
    (line, *_) = [line for line in text.splitlines() if line.startswith(f"| {start} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_published_rows_stand_as_they_were_published():
    text = tables(SYSTEM, [], None)
    assert row(text, "Whisper-S") == ["Whisper-S", "0.24B", "3.13", "-"]
    assert row(text, "Human") == ["Human", "-", "1.26", "75.5", "2.14", "73.4"]
    assert published().card in text
    assert "No published figure of this model was found" in text


def test_published_rows_fill_their_columns():
    paper = published()
    for quality in (paper.recognition, paper.synthesis, paper.conversion):
        assert all(len(row.figures) == len(quality.columns) for row in quality.rows)
    for latency in (paper.synthesis_latency, paper.recognition_latency):
        assert all(len(row) == len(latency.columns) for row in latency.rows)


def test_ours_stands_beneath_in_the_same_column_with_its_interval():
    text = tables(
        SYSTEM,
        [measured("librispeech-test-clean", "asr", "WER", mean([0.0, 0.5, 0.1]))],
        None,
    )
    own = row(text, "**GPA tiny** (this run)")
    assert own[:2] == ["**GPA tiny** (this run)", "0.012B"]
    assert own[2].startswith("20.00 (0.00 to 50.00)")
    assert DAGGER not in own[2]
    assert row(text, "librispeech-test-clean WER")[1:4] == ["20.00", "0.00 to 50.00", "3 of 2,620"]


def test_what_is_not_comparable_is_marked_and_explained():
    figure = measured("librispeech-test-clean", "asr", "WER", mean([0.25]), "a part of it")
    text = tables(SYSTEM, [figure], None)
    assert row(text, "**GPA tiny** (this run)")[2] == f"25.00 {DAGGER}"
    assert f"how; {DAGGER} a part of it" in text


def test_a_set_without_published_figures_has_a_column_of_its_own():
    text = tables(SYSTEM, [measured("curated-en", "vc", "SIM", mean([0.5, 0.5]))], None)
    assert "curated-en similarity" in text
    assert row(text, "Whisper-S") == ["Whisper-S", "0.24B", "3.13", "-"]


def test_what_was_not_answered_is_counted():
    base = measured("curated-en", "asr", "WER", mean([1.0, 1.0]))
    text = tables(SYSTEM, [Measured(base.test_set, base.figures, {"a": "silent"})], None)
    assert "1 without an answer, counted as all wrong" in text


def test_untrained_tokenizers_are_said_first():
    untrained = System("GPA tiny", 11_844_224, "checkpoint-100", "small", False)
    assert UNTRAINED in tables(untrained, [], None).split("##")[0]
    assert UNTRAINED not in tables(SYSTEM, [], None)


def test_latency_stands_beside_the_published_once_it_was_measured():
    assert "Ours was not measured" in tables(SYSTEM, [], None)
    text = tables(SYSTEM, [], LATENCY)
    assert "Ours was not measured" not in text
    spoken, heard = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if "(this machine)" in line
    ]
    assert spoken[1:] == ["5", "250.0", "200.0", "500.0", "0.250", "0.200", "0.500", "6.40"]
    assert heard[1:] == ["5", "250.0", "200.0", "500.0", "-"]
    assert "258.8" in text
