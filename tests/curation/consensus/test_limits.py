"""Limits of the audio's quality: what breaks one is dropped first, and nothing without them."""

from __future__ import annotations

import pytest

from gpa.curation.consensus.limits import QualityLimits
from gpa.curation.consensus.stage import ConsensusConfig, ConsensusStage
from gpa.curation.pipeline import build_stages, read_pipeline
from gpa.runtime.stage import NoAttempts
from tests.runs import ROOT
from tests.tables import artifact, recordings

GOOD = {
    "bandwidth_hz": 11900.0, "clipped_share": 0.0, "level_dbfs": -20.0, "noise_floor_dbfs": -70.0,
}  # fmt: skip
MEASURED = {
    "good": {},
    "narrow": {"bandwidth_hz": 3900.0},
    "clipped": {"clipped_share": 0.02},
    "quiet": {"level_dbfs": -40.0},
    "noisy": {"noise_floor_dbfs": -30.0},
    "unmeasured": dict.fromkeys(GOOD),
}
LIMITS = {
    "min_bandwidth_hz": 7000, "max_clipped_share": 0.001, "min_level_dbfs": -30,
    "max_noise_floor_dbfs": -50,
}  # fmt: skip
BROKEN = {
    "narrow": ("narrow_band", 3900.0),
    "clipped": ("clipped", 0.02),
    "quiet": ("too_quiet", -40.0),
    "noisy": ("noisy", -30.0),
}


def quality():
    rows = [{"utterance_id": key, **GOOD, **given} for key, given in MEASURED.items()]
    return artifact("quality", *rows)


def test_each_limit_is_broken_by_its_own_measure_and_none_by_what_was_not_measured():
    assert QualityLimits(**LIMITS).broken(quality().table) == BROKEN
    assert QualityLimits().broken(quality().table) == {}
    for name in LIMITS:
        found = QualityLimits(**{name: LIMITS[name]}).broken(quality().table)
        assert len(found) == 1
    assert QualityLimits(min_bandwidth_hz=3900).broken(quality().table) == {}


def decided(limits: dict, said: str):
    config = ConsensusConfig(panels={"en": {"voters": ["a", "b"]}}, quality=QualityLimits(**limits))
    keys = [*MEASURED]
    inputs = {
        "recordings": recordings({"r": "en"}),
        "quality": quality(),
        "utterances": artifact(
            "utterances",
            *({"utterance_id": key, "recording_id": "r", "duration_s": 2.0} for key in keys),
        ),
        "hypotheses/a": artifact(
            "hypotheses/a", *({"utterance_id": key, "asr": "a", "text": "one two"} for key in keys)
        ),
        "hypotheses/b": artifact(
            "hypotheses/b", *({"utterance_id": key, "asr": "b", "text": said} for key in keys)
        ),
    }
    stage = ConsensusStage("consensus", config, [*inputs])
    return stage.process("part", inputs, NoAttempts())


def test_what_breaks_a_limit_is_rejected_once_and_keeps_its_text_for_other_limits():
    artifact = decided(LIMITS, "one two")
    assert {each.utterance_id: (each.reason, each.value) for each in artifact.rejects} == BROKEN
    rows = {row["utterance_id"]: row for row in artifact.table.to_pylist()}
    assert {key for key, row in rows.items() if row["kept"]} == {"good", "unmeasured"}
    assert {row["text"] for row in rows.values()} == {"one two"}
    assert sum(each.seconds for each in artifact.rejects) == 8.0


def test_a_limit_goes_before_disagreement_which_another_threshold_could_undo():
    reasons = {each.utterance_id: each.reason for each in decided(LIMITS, "three").rejects}
    expected = {"good": "disagreement", "unmeasured": "disagreement"}
    assert reasons == expected | {key: reason for key, (reason, _) in BROKEN.items()}


def test_without_limits_consensus_does_not_depend_on_quality():
    config = read_pipeline(ROOT / "pipelines.yaml", "laptop")
    limited = config.model_copy(
        update={
            "consensus": config.consensus.model_copy(
                update={"quality": QualityLimits(min_bandwidth_hz=7000)}
            )
        }
    )
    inputs = [
        {stage.name: stage.inputs for stage in build_stages(each)}["consensus"]
        for each in (config, limited)
    ]
    assert ["quality" in names for names in inputs] == [False, True]


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_of_another_kind_is_refused(name):
    with pytest.raises(ValueError, match=name):
        QualityLimits(**{name: "much"})
