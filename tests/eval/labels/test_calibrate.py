"""The threshold curve: consensus decided again, with what is known of the labels."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gpa.curation.consensus.stage import ConsensusConfig, PanelConfig
from gpa.curation.intervals import Estimate
from gpa.curation.package.expected import read_calibration
from gpa.eval.labels import calibrate as calibration
from gpa.eval.labels.calibrate import (
    Judged,
    Point,
    admitted,
    curve,
    expected_wer,
    from_verdicts,
    knee,
    read_verdicts,
)
from gpa.eval.labels.decisions import read_decisions
from gpa.eval.labels.outputs import Output, Utterance, read_output
from gpa.runtime.errors import UserError

PLAIN = ConsensusConfig(panels={"en": PanelConfig(voters=("one", "two"))})
VERIFIED = ConsensusConfig(
    panels={"en": PanelConfig(voters=("one", "two"), verifier="three", max_verifier_distance=0.4)}
)


def utterance(key: str, pwer: float | None, reason: str | None, **other) -> Utterance:
    blank = Utterance(
        utterance_id=key, recording_id="r", partition="p",
        start_s=0.0, end_s=10.0, seconds=10.0, speaker="s", kept=reason is None, reason=reason,
        language="en", pwer=pwer, verifier_distance=None, label="text", hypotheses={}, skipped=(),
        text_before=None, text_after=None, kept_version=None, normalized_mos=None, denoised_mos=None,
    )  # fmt: skip
    return replace(blank, **other)


RUN = (
    utterance("a", 0.0, None),
    utterance("b", 0.10, None),
    utterance("c", 0.15, "disagreement"),
    utterance("d", 0.40, "disagreement"),
    utterance("e", 0.05, "hallucination"),
)
KNOWN = {
    "a": Judged(0, 10),
    "b": Judged(1, 10),
    "c": Judged(4, 10),
    "d": Judged(9, 10),
}


def test_hours_and_error_follow_the_threshold():
    at = {point.threshold: point for point in curve(RUN, KNOWN, PLAIN)}
    assert (at[0.0].utterances, at[0.01].utterances, at[0.10].utterances) == (0, 1, 1)
    assert (at[0.11].seconds, at[0.11].error.value) == (20.0, pytest.approx(1 / 20))
    # Kept strictly below.
    assert at[0.15].utterances == 2
    assert (at[0.16].seconds, at[0.16].error.value) == (30.0, pytest.approx(5 / 30))
    assert at[0.50].error.value == pytest.approx(14 / 40)


def test_at_the_threshold_of_the_run_the_curve_keeps_what_the_run_kept(output: Output):
    kept = [
        u.utterance_id for u in output.utterances
        if admitted(u, output.consensus.max_pwer, output.consensus)
    ]  # fmt: skip
    assert kept == [u.utterance_id for u in output.utterances if u.kept] == ["a", "c"]


def test_decisions_are_those_of_the_whole_output(out: Path, output: Output):
    decisions = read_decisions(str(out))
    assert [d.seconds for d in decisions] == [u.seconds for u in output.utterances]
    for threshold in (0.0, 0.1, 0.15, 1.0):
        assert [admitted(d, threshold, decisions.consensus) for d in decisions] == [
            admitted(u, threshold, output.consensus) for u in output.utterances
        ]


def test_only_utterances_of_recordings_that_are_asked_for_are_read(out: Path, output: Output):
    assert read_output(str(out), {"mix"}).utterances == output.utterances
    others = read_output(str(out), {"another"})
    assert (others.utterances, others.recordings) == ((), output.recordings)


def test_what_fell_for_another_reason_stays_out():
    assert not admitted(RUN[4], 0.5, PLAIN)


@pytest.mark.parametrize(("distance", "is_admitted"), [(0.4, True), (0.41, False), (None, False)])
def test_the_verifier_is_still_asked(distance: float | None, is_admitted: bool):
    dropped = utterance("c", 0.2, "disagreement", verifier_distance=distance)
    assert admitted(dropped, 0.3, VERIFIED) is is_admitted


def test_a_lone_voter_whom_the_verifier_confirmed_has_no_threshold():
    assert admitted(utterance("a", None, None), 0.01, PLAIN)


def point(threshold: float, seconds: float, error: float) -> Point:
    return Point(threshold, 1, seconds, Estimate(error, error, error, 1))


def test_the_knee_is_where_hours_begin_to_cost():
    points = [
        point(0.1, 10, 0.01),
        point(0.2, 80, 0.02),
        point(0.3, 90, 0.09),
        point(0.4, 100, 0.2),
    ]
    assert knee(points) is points[1]


def test_where_more_hours_cost_nothing_the_knee_is_at_the_end():
    points = [point(0.1, 10, 0.05), point(0.2, 80, 0.05), point(0.3, 90, 0.05)]
    assert knee(points) is points[2]


def test_a_curve_of_one_point_has_no_knee():
    assert knee([point(0.1, 10, 0.05), point(0.2, 10, 0.05)]) is None
    assert knee([]) is None


@given(st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["right", "wrong", "unsure"])))
def test_verdicts_weigh_as_many_utterances_as_they_speak_for(verdicts):
    judged = from_verdicts(verdicts, RUN, PLAIN)
    sure = {key for key, verdict in verdicts.items() if verdict != "unsure"}
    assert judged.keys() == sure
    # Every utterance of this run has a stratum of its own.
    assert all(item.total == 1 for item in judged.values())
    assert {key for key, item in judged.items() if item.wrong} == {
        key for key in sure if verdicts[key] == "wrong"
    }


def test_a_stratum_that_was_sampled_thinly_keeps_its_weight():
    many = [utterance(f"low{n}", 0.02, None) for n in range(9)]
    high = utterance("high", 0.12, None)
    judged = from_verdicts({"low0": "right", "high": "wrong"}, [*many, high], PLAIN)
    assert judged["low0"].total == 9
    (at,) = curve([*many, high], judged, PLAIN, thresholds=[0.15])
    assert at.error.value == pytest.approx(1 / 10)


def test_a_broken_verdict_is_named(tmp_path: Path):
    file = tmp_path / "verdicts.jsonl"
    file.write_text('{"utterance_id": "a", "verdict": "right"}\n{"utterance_id": "b"}')
    with pytest.raises(UserError, match=r"verdicts\.jsonl, line 2"):
        read_verdicts(file)
    file.write_text('{"utterance_id": "a", "verdict": "fine"}')
    with pytest.raises(UserError, match="not 'fine'"):
        read_verdicts(file)


def test_the_last_verdict_on_an_utterance_counts(tmp_path: Path):
    file = tmp_path / "verdicts.jsonl"
    lines = [{"utterance_id": "a", "verdict": v, "note": "x"} for v in ("right", "wrong")]
    file.write_text("\n".join(map(json.dumps, lines)))
    assert read_verdicts(file) == {"a": "wrong"}


def test_the_command_prints_the_curve_and_writes_it(out: Path, truth_folder: Path, tmp_path: Path):
    page, file = io.StringIO(), tmp_path / "curve.json"
    calibration.run(str(out), truth_folder, None, file, Console(file=page, width=120))
    assert "At pWER < 15%: label WER 8.3%" in page.getvalue()
    content = json.loads(file.read_text())
    assert content["points"][15]["value"] == pytest.approx(1 / 12)
    assert content["points"][50]["value"] == pytest.approx(6 / 18)
    assert content["expected_wer"] == []  # of single labels nothing is foretold


def test_wer_is_foretold_by_pwer_and_where_there_are_enough_by_length(tmp_path: Path):
    run, known = [], {}
    for number in range(40):
        key = f"{number}"
        short = number < 20
        run.append(utterance(key, 0.0, None, seconds=3.0 if short else 9.0))
        known[key] = Judged(2 if short else 1, 20)
    few = [utterance(f"few{n}", 0.12, None) for n in range(3)]
    known |= {each.utterance_id: Judged(3, 10) for each in few}
    unjudged = utterance("unjudged", 0.3, "disagreement")
    cells = expected_wer([*run, *few, unjudged], known, PLAIN)
    file = tmp_path / "curve.json"
    file.write_text(calibration.as_json([], "label WER", 0.15, cells))
    calibrated = read_calibration(file)
    for pwer, seconds, value, count in (
        (0.0, 4.0, 0.1, 20), (0.0, 12.0, 0.05, 20), (0.13, 2.0, 0.3, 3), (0.13, 20.0, 0.3, 3),
    ):  # fmt: skip
        found = calibrated.expected(pwer, seconds)
        assert (found["value"], found["count"]) == (pytest.approx(value), count)
    assert calibrated.expected(0.3, 4.0) is None


def test_verdicts_or_truth_are_needed(out: Path, tmp_path: Path):
    with pytest.raises(UserError, match="either"):
        calibration.run(str(out), None, None, None, Console(file=io.StringIO()))
    file = tmp_path / "verdicts.jsonl"
    file.write_text('{"utterance_id": "stranger", "verdict": "right"}')
    with pytest.raises(UserError, match="None of the verdicts"):
        calibration.run(str(out), None, file, None, Console(file=io.StringIO()))
