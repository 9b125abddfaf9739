"""`gpa score` on an OUT whose figures can be worked out by hand; see conftest.py for what is in it."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from gpa.eval.labels import score as curation
from gpa.eval.labels.outputs import Output, read_output
from gpa.eval.labels.truth import TruthTurn, read_truth
from gpa.runtime.errors import UserError


@pytest.fixture
def result(output: Output, truth_folder: Path) -> curation.Score:
    return curation.score(output, read_truth(truth_folder))


def test_speech_of_one_speaker_that_was_kept(result):
    kept = result.figures["Kept and clean"]
    # Alone: 3 + 3 + 2.5 + 1 s. Kept: 1.0-4.0, 9.0-11.5, and 12.0-12.1 of the last turn.
    assert kept["single-speaker speech kept"].value == pytest.approx(5.6 / 9.5)
    assert kept["the same, where it is clean"].value == pytest.approx(5.6 / 6.5)
    assert kept["the same, in noise"].value == 0


def test_cross_talk_in_what_was_kept(result):
    # Of "a" and "c", "c" has 0.6 s of somebody else.
    assert result.figures["Kept and clean"]["kept utterances with cross-talk"].value == 0.5


def test_wer_of_labels_and_of_each_asr(result):
    text = result.figures["Text"]
    # a: "a" for "the", of 6 words; c: right, 6 words; b (dropped): 6 words.
    assert text["en: label, kept"].value == pytest.approx(1 / 12)
    assert text["en: one, kept"].value == pytest.approx(1 / 12)
    assert text["en: two, kept"].value == 0
    # "green fish" for "red fish swim in cold seas": one substitution, four deletions.
    assert text["en: label, dropped"].value == pytest.approx(5 / 6)
    assert text["en: one, all"].value == pytest.approx(6 / 18)
    assert text["en: two, dropped"].value == 0
    assert text["en: label, kept"].count == 2


def test_errors_that_two_asrs_share(result):
    found = result.figures["Independence of the recognisers"]
    # The second ASR is always right, so nothing is shared, and chance would share nothing either.
    assert found["one and two: both wrong"].value == 0
    assert math.isnan(found["one and two: both wrong, times chance"].value)


def test_consensus_is_compared_with_the_best_asr(result):
    # The second ASR makes no error at all, so there is nothing to be better than.
    assert math.isnan(result.figures["Text"]["en: label kept / best ASR on all"].value)


def test_marks_before_and_after_the_pause_rule(result):
    marks = result.figures["Punctuation"]
    # The rule took the comma after "morning"; "everyone." is heard with a comma, before and after.
    assert marks["comma recall, before"].value == 1
    assert marks["comma recall, after"].value == 0
    assert marks["comma precision, before"].value == 0.5
    assert marks["comma F1, before"].value == pytest.approx(2 / 3)
    # Stops: "mat." is there, "everyone." and "down." are not.
    assert marks["stop precision, after"].value == 1
    assert marks["stop recall, after"].value == pytest.approx(1 / 3)


def test_boundaries_outside_all_turns_cut_nothing(result):
    boundaries = result.figures["Boundaries"]
    assert boundaries["first word cut"].value == 0
    # "c" ends 0.1 s after its own turn, inside the next speaker's, whose words are not its own.
    assert boundaries["kept utterances with a cut word"].value == 0


def test_quality_and_agreement(result):
    audio = result.figures["Audio and agreement"]
    assert audio["DNSMOS overall, normalized"].value == pytest.approx(3.0)
    assert audio["DNSMOS overall, denoised"].value == pytest.approx(3.5)
    assert audio["DNSMOS overall, version kept"].value == pytest.approx((3.5 + 3.5 + 3.0) / 3)
    assert audio["denoised version kept"].value == pytest.approx(2 / 3)
    assert audio["pWER, kept"].value == pytest.approx(0.05)
    assert audio["pWER, dropped"].value == pytest.approx(0.4)


def test_scores_have_the_name_of_the_model_that_gave_them(out: Path, truth_folder: Path):
    file = out / "run.json"
    content = json.loads(file.read_text())
    content["config"]["quality"] = {"scorer": {"model": "distillmos"}}
    file.write_text(json.dumps(content))
    page = io.StringIO()
    curation.run(str(out), truth_folder, None, Console(file=page, width=120))
    assert "Distill-MOS overall, denoised" in page.getvalue()
    assert "DNSMOS" not in page.getvalue()


def test_speakers_are_those_of_the_whole_talk(result):
    found = result.figures["Speakers"]
    # Label s1 has 2.5 s of bob and 0.1 s of cid; s0 is ann alone.
    assert found["speaker purity of cuts"].value == pytest.approx(8.5 / 8.6)


def test_how_the_truth_of_each_cut_was_found_is_told(result):
    assert result.judged == {"whole turns": 3}


def test_the_same_figures_are_printed_and_written(out: Path, truth_folder: Path, tmp_path: Path):
    page = io.StringIO()
    file = tmp_path / "score.json"
    curation.run(str(out), truth_folder, file, Console(file=page, width=120))
    figures = json.loads(file.read_text())["figures"]
    assert figures["Text"]["en: label, kept"]["value"] == pytest.approx(1 / 12)
    assert figures["Boundaries"]["clean cuts that are dropped"]["value"] is None
    assert "8.3%" in page.getvalue()
    assert "DNSMOS overall, denoised" in page.getvalue()


def test_a_text_without_times_is_truth_for_text_alone(output: Output, tmp_path: Path):
    text = "The cat sat on the mat red fish swim in cold seas Good morning everyone Please sit down"
    row = {"path": "mix.wav", "text": text, "duration_s": 20.0}
    (tmp_path / "manifest.jsonl").write_text(json.dumps(row))
    result = curation.score(output, read_truth(tmp_path))
    assert result.judged == {"part of a turn": 3}
    assert result.figures["Text"]["en: label, kept"].value == pytest.approx(1 / 12)
    assert math.isnan(result.figures["Kept and clean"]["single-speaker speech kept"].value)
    assert result.figures["Speakers"] == {}


def test_a_run_without_any_truth_is_an_error(output: Output, tmp_path: Path):
    (tmp_path / "other.jsonl").write_text('{"start": 0, "end": 1, "speaker": "a"}')
    with pytest.raises(UserError, match=r"truth knows other, the run talk/mix\.wav"):
        curation.score(output, read_truth(tmp_path))


def test_an_unfinished_run_is_an_error(out: Path):
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(record | {"finished": False}))
    with pytest.raises(UserError, match="not finished"):
        read_output(str(out))


def test_no_run_is_an_error(tmp_path: Path):
    with pytest.raises(UserError, match="holds no run"):
        read_output(str(tmp_path / "nothing"))


def write_turns(folder: Path, *turns: dict) -> dict:
    (folder / "mix.jsonl").write_text("\n".join(map(json.dumps, turns)), encoding="utf-8")
    return read_truth(folder)


def test_truth_of_turns_alone_gives_all_figures_that_need_no_text(output: Output, tmp_path: Path):
    folder = tmp_path / "rttm"
    folder.mkdir()
    (folder / "mix.rttm").write_text("SPEAKER mix 1 1.0 3.0 <NA> <NA> ann <NA> <NA>\n")
    figures = curation.score(output, read_truth(folder)).figures
    assert figures["Kept and clean"]["single-speaker speech kept"].value == pytest.approx(1)
    assert figures["Speakers"]["speaker purity of cuts"].value == 1
    assert figures["Boundaries"]["first word cut"].count == 2
    assert not figures["Text"]


def test_a_language_that_no_aligner_and_no_asr_speaks_is_scored_all_the_same(
    output: Output, tmp_path: Path
):
    folder = tmp_path / "swedish"
    folder.mkdir()
    said = "katten satt på mattan"
    turn = {"start": 1.0, "end": 4.0, "speaker": "x", "text": said, "language": "sv-SE"}
    figures = curation.score(output, write_turns(folder, turn)).figures
    assert figures["Text"]["sv: label, kept"].value > 0
    assert figures["Boundaries"]["first word cut"].count == 2


def test_a_segment_is_scored_by_its_place_in_the_file(output: Output, truth_folder: Path):
    truth = read_truth(truth_folder)["mix"]
    later = truth.of_segment(-100.0, math.inf)  # the same 100 s into a file
    before = TruthTurn(80.0, 99.0, "zoe", "what was said before", None, "en")
    segment = replace(output.recordings[0], start_s=100.0, is_segment=True)
    output_of_segment = replace(output, recordings=(segment, *output.recordings[1:]))
    truth_of_file = replace(later, turns=(before, *later.turns))

    def values(score: curation.Score) -> dict[str, float]:
        return {k: each.value for found in score.figures.values() for k, each in found.items()}

    found = values(curation.score(output_of_segment, {"mix": truth_of_file}))
    assert found == pytest.approx(values(curation.score(output, {"mix": truth})), nan_ok=True)


def test_turns_past_the_end_and_recordings_without_utterances_do_no_harm(
    output: Output, tmp_path: Path
):
    folder = tmp_path / "odd"
    folder.mkdir()
    late = {"start": 25.0, "end": 26.0, "speaker": "x", "text": "too late", "language": "en"}
    figures = curation.score(output, write_turns(folder, late)).figures
    assert figures["Kept and clean"]["single-speaker speech kept"].value == 0
    assert math.isnan(figures["Boundaries"]["cuts through words that are caught"].value)
