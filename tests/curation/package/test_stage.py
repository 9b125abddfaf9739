"""Packaging takes over what people corrected, and its name holds what they said."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from gpa.curation.package.stage import PackageConfig, PackageStage
from gpa.curation.package.verdicts import Correction
from gpa.curation.pipeline import build_stages, package_stage, read_pipeline
from gpa.runtime.errors import UserError
from gpa.runtime.recipe import fingerprints
from gpa.runtime.stage import NoAttempts
from tests.runs import ROOT
from tests.tables import artifact

WORDS = [{"word": "hello", "start_s": 0.1, "end_s": 0.4, "confidence": None}]


def packaged(corrections: Mapping[str, Correction], text: str = "Hello.") -> dict[str, dict]:
    """KEY.json by utterance; `kept` and `other` were kept, `gone` was not."""
    keys = {"utterance_id": "kept"}, {"utterance_id": "other"}
    stage = PackageStage("packaged", PackageConfig(), [], {}, corrections)
    inputs = {
        "recordings": artifact("recordings", {"recording_id": "r", "given": "{}"}),
        "utterances": artifact(
            "utterances",
            *({**key, "recording_id": "r", "duration_s": 2.0} for key in keys),
            {"utterance_id": "gone", "recording_id": "r", "duration_s": 2.0},
            files={f"{name}.normalized.flac": b"flac" for name in ("kept", "other", "gone")},
        ),
        "quality": artifact(
            "quality",
            *({**key, "kept_version": "normalized", "bandwidth_hz": 3900.0} for key in keys),
        ),
        "consensus": artifact("consensus", *({**key, "language": "en"} for key in keys)),
        "alignment": artifact(
            "alignment", *({**key, "text": text, "words": WORDS, "aligner": "mfa"} for key in keys)
        ),
    }
    table = stage.process("part", inputs, NoAttempts()).table
    for row in table.to_pylist():
        told = json.loads(row["json"])
        for name in ("text", "corrected_by", "bandwidth_hz"):
            assert row[name] == told[name]
    return {row["utterance_id"]: json.loads(row["json"]) for row in table.to_pylist()}


def test_the_label_is_the_persons_and_what_it_was_stays():
    rows = packaged({"kept": Correction("Hallo!", "ann", 2.0)})
    kept, other = rows["kept"], rows["other"]
    assert (kept["text"], kept["text_before_correction"]) == ("Hallo!", "Hello.")
    assert (kept["corrected_by"], kept["words"], kept["words_from"]) == ("ann", [], "")
    assert (other["text"], other["corrected_by"], other["words"]) == ("Hello.", None, WORDS)


def test_word_times_stay_where_only_the_writing_changed():
    kept = packaged({"kept": Correction("hello", "ann")})["kept"]
    assert (kept["text"], kept["words"], kept["words_from"]) == ("hello", WORDS, "mfa")


def test_what_was_dropped_stays_dropped_and_another_cut_is_not_corrected():
    rows = packaged({"gone": Correction("Hallo!", "ann"), "kept": Correction("Hallo!", "ann", 3.0)})
    assert rows.keys() == {"kept", "other"}
    assert rows["kept"]["text"] == "Hello."


def test_only_packaging_depends_on_the_content_of_the_file_and_not_on_its_place(tmp_path):
    config = read_pipeline(ROOT / "pipelines.yaml", "laptop")

    def names(file, line: str | None) -> dict[str, str]:
        if line is not None:
            file.write_text(line)
        package = config.package.model_copy(update={"corrections": file if line else None})
        changed = config.model_copy(update={"package": package})
        made = build_stages(changed)
        return fingerprints([*made, package_stage(changed, made)], {"recordings": "1"})

    line = '{"utterance_id": "a", "verdict": "wrong", "text": "so"}\n'
    right = '{"utterance_id": "b", "verdict": "right"}\n'
    without = names(tmp_path / "a", None)
    first = names(tmp_path / "a", line)
    assert {name for name in first if first[name] != without[name]} == {"packaged"}
    assert names(tmp_path / "b", line + right) == first
    assert names(tmp_path / "a", right) == without
    assert names(tmp_path / "a", line.replace("so", "oh"))["packaged"] != first["packaged"]


def test_a_file_of_corrections_that_is_not_there_stops_a_run_before_it_starts(tmp_path):
    config = read_pipeline(ROOT / "pipelines.yaml", "laptop")
    package = config.package.model_copy(update={"corrections": tmp_path / "gone.jsonl"})
    with pytest.raises(UserError, match=r"gone\.jsonl"):
        package_stage(config.model_copy(update={"package": package}), [])
