"""Figures of the report equal figures counted from the tables, row by row, without its code."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gpa.curation.report import summary
from gpa.curation.report.audit import audit, figures
from gpa.curation.report.outputs import Run, open_run
from gpa.curation.report.recognisers import Agreement
from gpa.curation.report.utterances import read_utterances
from gpa.curation.report.write import write_report
from gpa.curation.transcribe.early_exit import EarlyExitConfig
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.errors import UserError
from gpa.runtime.stage import Artifact
from gpa.runtime.storage import Store
from tests.curation.report.synthetic import ASRS, Builder, write_out


def joined(out: Path) -> list[dict]:
    """One dictionary an utterance, with all that the tables say of it."""
    artifacts = ArtifactStore(Store(str(out)))
    content = json.loads((out / "run.json").read_text())
    found = []
    for partition in content["partitions"]:
        tables = [
            {row["utterance_id"]: row for row in artifacts.table(name, "1", partition).to_pylist()}
            for name in ("utterances", "quality", "consensus")
        ]
        found += [{**tables[0][key], **tables[1][key], **tables[2][key]} for key in tables[0]]
    return found


@pytest.fixture(scope="module")
def shown(out: Path) -> dict:
    return json.loads((out / "report" / "summary.json").read_text())["audit"]


def test_the_funnel_adds_up_to_what_went_in(out: Path, shown: dict):
    funnel = shown["funnel"]
    decoded = sum(
        row["duration_s"]
        for partition in ("part-a", "part-b", "part-c")
        for row in ArtifactStore(Store(str(out))).table("normalized", "1", partition).to_pylist()
    )
    assert funnel["in_s"] == pytest.approx(decoded + 4.0, abs=1e-3)  # and a duplicate of 4 s
    kept = [row for row in joined(out) if row["kept"]]
    assert funnel["kept_utterances"] == len(kept)
    assert funnel["kept_s"] == pytest.approx(sum(row["duration_s"] for row in kept), abs=1e-3)
    dropped = sum(row["seconds"] for row in funnel["dropped"])
    assert funnel["in_s"] == pytest.approx(funnel["kept_s"] + dropped, abs=0.01)
    assert shown["reconciles"]


def test_given_texts_of_other_audio_are_counted(out: Path):
    run = open_run(str(out))
    utterances = read_utterances(run, "part-a")
    assert utterances is not None
    given = np.full(len(utterances), np.nan)
    given[:4] = 0.0, 0.1, 0.5, 1.0
    agreement = Agreement(run.voters, run.consensus_config)
    agreement.add(replace(utterances, given_pwer=given))
    assert agreement.given_texts() == {
        "utterances": 4,
        "mean_pwer": pytest.approx(0.4),
        "of_other_audio": 2,
    }


def test_dropped_utterances_are_counted_by_reason(out: Path, shown: dict):
    expected: dict[str, int] = defaultdict(int)
    for row in joined(out):
        if not row["kept"]:
            expected[row["reason"]] += 1
    found = {
        row["reason"]: row["utterances"]
        for row in shown["funnel"]["dropped"]
        if row["step"] == "consensus"
    }
    assert found == dict(expected)


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.15, 0.2, 0.335, 0.5])
def test_a_threshold_keeps_what_consensus_would_keep_under_it(
    tmp_path: Path, out: Path, shown: dict, threshold: float
):
    write_out(tmp_path, utterances=20, verifier="delta", max_pwer=threshold, audio=False)
    kept = [row for row in joined(tmp_path) if row["kept"]]
    before = {row["utterance_id"] for row in joined(out) if row["kept"]}
    step = next(step for step in shown["thresholds"] if step["threshold"] == threshold)
    assert step["kept_utterances"] == len(kept)
    assert step["kept_s"] == pytest.approx(sum(row["duration_s"] for row in kept), abs=1e-3)
    assert step["change_sides"] == len(before ^ {row["utterance_id"] for row in kept})
    if kept:
        mean = sum(row["pwer"] for row in kept) / len(kept)
        assert step["mean_pwer"] == pytest.approx(mean)
    else:
        assert step["mean_pwer"] is None


def test_the_threshold_of_the_run_keeps_what_the_funnel_says(shown: dict):
    step = next(step for step in shown["thresholds"] if step["threshold"] == 0.15)
    assert step["kept_utterances"] == shown["funnel"]["kept_utterances"]
    assert step["kept_s"] == pytest.approx(shown["funnel"]["kept_s"], abs=1e-3)
    assert step["change_sides"] == 0


def test_a_threshold_off_the_grid_has_its_own_step(tmp_path: Path):
    write_out(tmp_path, utterances=5, max_pwer=0.1234, audio=False)
    found = audit(open_run(str(tmp_path)), 0)
    step = found.agreement.thresholds()[found.agreement.place]
    assert step["threshold"] == 0.1234
    assert step["kept_utterances"] == found.funnel.kept_utterances


def test_pairwise_wer_and_leave_one_out_are_means_over_utterances(out: Path, shown: dict):
    sums: dict[tuple[str, str], list[float]] = defaultdict(list)
    without: dict[str, list[float]] = defaultdict(list)
    vetoes: dict[str, int] = defaultdict(int)
    for row in joined(out):
        fit = row["verifier_distance"] is not None and row["verifier_distance"] <= 0.4
        for i, first in enumerate(row["voters"]):
            for j, second in enumerate(row["voters"]):
                if i != j:
                    sums[first, second].append(min(1.0, row["wer_matrix"][i][j]))
            if len(row["voters"]) > 2:
                without[first].append(row["pwer_without"][i])
                vetoes[first] += (
                    row["reason"] == "disagreement" and fit and row["pwer_without"][i] < 0.15
                )
    asrs = shown["pairwise_wer"]["asrs"]
    for (first, second), values in sums.items():
        found = shown["pairwise_wer"]["wer"][asrs.index(first)][asrs.index(second)]
        assert found == pytest.approx(sum(values) / len(values))
    for entry in shown["leave_one_out"]:
        values = without[entry["asr"]]
        assert entry["pwer_without"] == pytest.approx(sum(values) / len(values))
        assert entry["vetoes"] == vetoes[entry["asr"]]
    assert sum(vetoes.values()) > 0


def test_groups_cover_every_utterance_once(out: Path, shown: dict):
    everything = joined(out)
    for name in ("by_language", "by_length_s", "by_mos"):
        assert sum(group["utterances"] for group in shown[name].values()) == len(everything)
    short = [row for row in everything if 2 <= row["duration_s"] < 3]
    group = shown["by_length_s"]["2 to 3 s"]
    assert group["utterances"] == len(short)
    assert group["mean_pwer"] == pytest.approx(sum(row["pwer"] for row in short) / len(short))


def test_early_exit_changes_no_step_of_the_slider_and_says_where_it_ends(tmp_path: Path):
    panel = {"utterances": 30, "asrs": ASRS[:4], "verifier": "epsilon", "audio": False}
    write_out(tmp_path / "all", **panel)
    early_exit = EarlyExitConfig(pwer=0.25, largest_panel=4)
    write_out(tmp_path / "spared", **panel, early_exit=early_exit)
    without, spared = (
        figures(audit(open_run(str(tmp_path / name)), 0), partial=False)
        for name in ("all", "spared")
    )
    assert spared["thresholds"][-1]["threshold"] == 0.25
    assert spared["thresholds"] == without["thresholds"][: len(spared["thresholds"])]
    assert spared["funnel"] == without["funnel"]
    settled = [row for row in joined(tmp_path / "spared") if row["early_exit"]]
    assert len(settled) > 10
    assert spared["early_exit"] == {
        "exact_to": 0.25,
        "utterances": len(settled),
        "seconds": pytest.approx(sum(row["duration_s"] for row in settled), abs=1e-3),
    }
    saved = summary.spared(audit(open_run(str(tmp_path / "spared")), 0).agreement)
    assert saved["epsilon"]["utterances"] == len(settled)
    assert saved["epsilon"]["seconds"] == pytest.approx(spared["early_exit"]["seconds"], abs=1e-3)


def test_what_the_other_rule_would_keep_is_counted_row_by_row(out: Path, shown: dict):
    assert shown["other_rule"]["rule"] == "outlier"
    gained = [
        row["duration_s"]
        for row in joined(out)
        if row["reason"] == "disagreement"
        and row["verifier_distance"] is not None
        and row["verifier_distance"] <= 0.4
        and row["pwer_other_rule"] is not None
        and row["pwer_other_rule"] < 0.15
    ]
    assert shown["other_rule"]["gained"]["utterances"] == len(gained)
    assert shown["other_rule"]["gained"]["seconds"] == pytest.approx(sum(gained), abs=1e-3)
    assert shown["other_rule"]["lost"]["utterances"] == 0


def test_a_run_by_the_other_rule_keeps_what_the_report_said(tmp_path: Path):
    found = {}
    for name, limit in (("plain", None), ("outlier", 0.3)):
        panel = {"asrs": ASRS[:4], "audio": False, "max_outlier_distance": limit}
        write_out(tmp_path / name, 40, **panel)
        found[name] = figures(audit(open_run(str(tmp_path / name)), 0), partial=False)
    plain, outlier = found["plain"], found["outlier"]
    gained, lost = (plain["other_rule"][side]["utterances"] for side in ("gained", "lost"))
    assert gained
    kept = plain["funnel"]["kept_utterances"] + gained - lost
    assert outlier["funnel"]["kept_utterances"] == kept
    back = outlier["other_rule"]
    assert (back["rule"], back["gained"]["utterances"]) == ("plain", lost)
    assert back["lost"]["seconds"] == plain["other_rule"]["gained"]["seconds"]


def test_pairwise_wer_of_the_summary_is_the_mean_of_both_directions(out: Path, shown: dict):
    agreement = audit(open_run(str(out)), 0).agreement
    pairs, wer = summary.pairwise_wer(agreement), shown["pairwise_wer"]["wer"]
    alpha, beta = (shown["pairwise_wer"]["asrs"].index(asr) for asr in ("alpha", "beta"))
    both = (wer[alpha][beta] + wer[beta][alpha]) / 2
    assert pairs["alpha|beta"]["wer"] == pytest.approx(both, abs=1e-4)
    assert pairs["alpha|beta"]["utterances"] == shown["pairwise_wer"]["utterances"][alpha][beta]


def test_seconds_that_are_lost_are_named(tmp_path: Path):
    builder = Builder(tmp_path, audio=False)
    made = builder.partition("part-a", ["a.wav", "b.wav"], 4)
    packaged = made["packaged"].table
    builder.artifacts.write("packaged", "1", "part-a", Artifact(packaged.slice(1)))
    builder.finish()
    found = audit(open_run(str(tmp_path)), 0)
    lost = packaged["duration_s"][0].as_py()
    assert not found.funnel.reconciles
    assert found.funnel.balance_s == pytest.approx(lost)
    assert found.funnel.different == 1
    assert packaged["recording_id"][0].as_py() in found.funnel.differences[0]


def test_the_expected_wer_of_what_is_kept_weighs_seconds_and_is_absent_without_a_calibration(
    tmp_path: Path, shown: dict
):
    builder = Builder(tmp_path, audio=False)
    kept = builder.partition("part-a", ["a.wav"], 12)["packaged"].table
    seconds = kept["duration_s"].to_numpy()
    foretold = [0.02, 0.1, *[None] * (len(kept) - 2)]
    place = kept.column_names.index("expected_wer")
    calibrated = kept.set_column(place, "expected_wer", pa.array(foretold, pa.float64()))
    builder.artifacts.write("packaged", "1", "part-a", Artifact(calibrated))
    builder.finish()
    found = figures(audit(open_run(str(tmp_path)), 0), partial=False)
    assert found["expected_wer"] == pytest.approx(seconds[:2] @ [0.02, 0.1] / seconds[:2].sum())
    assert found["expected_wer_s"] == pytest.approx(seconds[:2].sum(), abs=1e-3)
    assert shown["expected_wer"] is None


def test_a_partial_run_counts_the_rest_as_not_decided(tmp_path: Path):
    builder = Builder(tmp_path, audio=False)
    builder.partition("part-a", ["a.wav"], 5)
    builder.partition("part-b", ["b.wav"], 5)
    content = builder.finish(finished=False)
    for name in ("consensus", "alignment", "packaged"):
        builder.artifacts.remove(name, "1", "part-b")
    run = Run(builder.artifacts, content, partial=True)
    result = figures(audit(run, 0), partial=True)
    rest = builder.artifacts.table("utterances", "1", "part-b")["duration_s"].to_pylist()
    assert result["partial"]
    assert result["reconciles"]
    assert result["funnel"]["undecided_s"] == pytest.approx(sum(rest), abs=1e-3)


def test_a_run_that_only_cut_utterances_reports(tmp_path: Path):
    builder = Builder(tmp_path)
    builder.partition("part-a", ["a.wav"], 3)
    content = builder.finish(finished=False)
    for name in [*content["stages"]]:
        if name not in ("normalized", "utterances"):
            content["stages"].pop(name)
    run = Run(builder.artifacts, content, partial=True)
    result = write_report(run, audit(run, 5))
    assert result["funnel"]["kept_utterances"] == 0
    assert "partial" in (tmp_path / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no run"),
        ({"layout_version": 0}, "has layout 0"),
        ({"finished": True}, "has layout None"),
    ],
)
def test_an_out_that_is_no_run_of_this_program_is_one_sentence(
    tmp_path: Path, content: dict | None, words: str
):
    if content is not None:
        (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=words):
        open_run(str(tmp_path))


def test_a_run_that_has_listed_nothing_is_one_sentence(tmp_path: Path):
    builder = Builder(tmp_path)
    builder.partition("part-a", ["a.wav"], 1)
    content = builder.finish(finished=False)
    (tmp_path / "corpus.parquet").unlink()
    with pytest.raises(UserError, match="not listed its recordings yet"):
        audit(Run(builder.artifacts, content, partial=True), 5)
