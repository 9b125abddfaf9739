"""KEY.json of what is kept, and the WER that a calibration foretells of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.package.expected import Calibration, Cell, read_calibration
from gpa.curation.package.stage import PackageConfig, PackageStage
from gpa.curation.pipeline import build_stages, read_pipeline
from gpa.runtime.errors import UserError
from gpa.runtime.recipe import fingerprints
from gpa.runtime.stage import Artifact, NoAttempts, Stage
from tests.runs import ROOT
from tests.tables import artifact

AGREED = Cell(pwer_above=-1, pwer_to=0, longer_than_s=0, to_s=None, value=0.01, low=0, high=0.02,
              count=40)  # fmt: skip
SHORT = Cell(pwer_above=0, pwer_to=0.05, longer_than_s=0, to_s=5, value=0.05, low=0.03, high=0.08,
             count=20)  # fmt: skip
LONG = SHORT.model_copy(update={"longer_than_s": 5.0, "to_s": None, "value": 0.04})


def calibrated(folder: Path, *cells: Cell) -> PackageConfig:
    file = folder / "calibration.json"
    file.write_text(json.dumps({"expected_wer": [cell.model_dump() for cell in cells]}))
    return PackageConfig(calibration=file)


@given(st.floats(0, 1), st.floats(0.1, 40))
def test_an_utterance_lies_in_one_cell_at_most(pwer: float, duration_s: float):
    cells = [AGREED, SHORT, LONG]
    inside = [cell.value for cell in cells if cell.holds(pwer, duration_s)]
    found = Calibration(cells=tuple(cells)).expected(pwer, duration_s)
    assert len(inside) == (pwer <= 0.05)
    assert (found["value"] if found else None) == next(iter(inside), None)


def partition(pwer: float | None) -> dict[str, Artifact]:
    key = {"utterance_id": "r-1", "recording_id": "r"}
    return {
        "recordings": artifact("recordings", {**key, "path": "a.wav", "given": "{}"}),
        "utterances": artifact(
            "utterances", {**key, "duration_s": 5.0}, files={"r-1.normalized.flac": b"flac"}
        ),
        "quality": artifact("quality", {**key, "kept_version": "normalized"}),
        "hypotheses/one": artifact("hypotheses/one", {**key, "text": "yes"}),
        "consensus": artifact("consensus", {**key, "language": "en", "pwer": pwer}),
        "alignment": artifact("alignment", {**key, "text": "yes"}),
    }


@pytest.mark.parametrize(
    ("pwer", "expected"),
    [(0.0, 0.01), (0.03, 0.05), (0.2, None), (None, None)],
    ids=["agreed", "short", "beyond what was judged", "no vote"],
)
def test_a_calibration_foretells_the_wer_of_what_it_has_seen_the_like_of(
    tmp_path: Path, pwer: float | None, expected: float | None
):
    inputs = partition(pwer)
    stage = PackageStage(
        "packaged", calibrated(tmp_path, AGREED, SHORT, LONG), list(inputs), {}, {}
    )
    (row,) = stage.process("p", inputs, NoAttempts()).table.to_pylist()
    said = json.loads(row["json"])["expected_wer"]
    assert row["expected_wer"] == expected
    assert (said and said["value"]) == expected
    assert said is None or said.keys() == {"value", "low", "high", "count"}


def test_without_a_calibration_nothing_is_said():
    inputs = partition(0.0)
    stage = PackageStage("packaged", PackageConfig(), list(inputs), {}, {})
    (row,) = stage.process("p", inputs, NoAttempts()).table.to_pylist()
    assert row["expected_wer"] is None
    assert "expected_wer" not in json.loads(row["json"])


def test_another_calibration_runs_package_alone(tmp_path: Path):
    made = build_stages(read_pipeline(ROOT / "pipelines.yaml", "laptop"))
    inputs = [stage.name for stage in made]

    def named(config: PackageConfig) -> dict[str, str]:
        stages: list[Stage] = [*made, PackageStage("packaged", config, inputs, {}, {})]
        return fingerprints(stages, {"recordings": "1"})

    without, one = named(PackageConfig()), named(calibrated(tmp_path, AGREED))
    other = named(calibrated(tmp_path, SHORT))  # another content of the same file
    for before, after in ((without, one), (one, other)):
        assert {name for name in after if after[name] != before[name]} == {"packaged"}


@pytest.mark.parametrize("content", ['{"points": []}', '{"expected_wer": [{"value": 0.1}]}', "[]"])
def test_a_file_that_calibrate_did_not_write_never_starts_a_run(tmp_path: Path, content: str):
    file = tmp_path / "other.json"
    file.write_text(content)
    with pytest.raises(UserError, match=r"other\.json"):
        read_calibration(file)
