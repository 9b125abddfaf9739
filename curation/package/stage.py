"""Step 9, package: the metadata of what is kept, partition by partition (SELECTED).

Shards are made of it: `gpa.curation.shards`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from gpa.curation.package.expected import read_calibration
from gpa.curation.package.verdicts import Correction
from gpa.curation.tables import MEASURES, TOLD, known
from gpa.curation.text.units import units
from gpa.runtime.config import Config
from gpa.runtime.stage import Artifact, Attempts, Stage, rows

# Version of the fields of KEY.json (docs/dataset.md); raised when one changes its meaning.
SCHEMA_VERSION = 4

SELECTED = pa.schema(
    [
        pa.field("utterance_id", pa.string(), nullable=False),
        pa.field("recording_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),  # path of the recording in the corpus
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("end_s", pa.float64(), nullable=False),
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("speaker", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("corrected_by", pa.string()),
        pa.field("pwer", pa.float64()),
        pa.field("confidence", pa.float64()),
        pa.field("given_pwer", pa.float64()),
        pa.field("expected_wer", pa.float64()),  # null without a calibration
        pa.field("snr_db", pa.float64(), nullable=False),
        pa.field("mos", pa.float64()),  # overall, of the kept version
        *(pa.field(name, pa.float64()) for name in MEASURES),
        pa.field("kept_version", pa.string(), nullable=False),
        pa.field("sample_rate", pa.int32(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),  # of the FLAC
        pa.field("json", pa.string(), nullable=False),  # KEY.json
    ]
)
# Fields of KEY.json that are columns of these tables.
OF_UTTERANCE = (
    "utterance_id", "recording_id", "duration_s", "sample_rate", "speaker", "speaker_confidence",
    "snr_db",
)  # fmt: skip
OF_CONSENSUS = ("language", "pwer", "voters", "chosen_asr", "confidence", "given_pwer")


class PackageConfig(Config):
    """How shards are cut, whose texts they hold, and what is said of each label."""

    # verdicts.jsonl: a text that a person typed there is the label (`gpa.curation.package.verdicts`).
    corrections: Path | None = None
    shard_mb: float = Field(256.0, gt=0)  # megabytes of FLAC; the last utterance may exceed it
    # Written by `gpa calibrate OUT --truth DIR --json FILE`: gives every label its `expected_wer`.
    calibration: Path | None = None


class PackageStage(Stage):
    """Metadata of the utterances that are kept."""

    step = "package"
    version = 4
    layers = TOLD
    config: PackageConfig

    def __init__(
        self,
        name: str,
        config: PackageConfig,
        inputs: Sequence[str],
        models: Mapping[str, str],
        corrections: Mapping[str, Correction],
    ):
        # What the file says decides, not where it lies.
        super().__init__(name, config.model_copy(update={"corrections": None}), inputs)
        self._models = dict(models)
        self._calibration = read_calibration(config.calibration) if config.calibration else None
        self._corrections = dict(corrections)

    def model_identity(self) -> str:
        """The models' names as they stand in every KEY.json, the calibration, and corrections."""
        told = {key: vars(each) for key, each in self._corrections.items()}
        calibration = self._calibration.model_dump() if self._calibration else None
        return json.dumps([self._models, calibration, told], sort_keys=True)

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        """SELECTED, in the order of the utterances."""
        tables = {
            name: {row["utterance_id"]: row for row in rows(artifact.table)}
            for name, artifact in inputs.items()
            if name != "recordings"
        }
        recordings = {
            row["recording_id"]: row for row in known(inputs["recordings"].table, self.layers)
        }
        spoken_by_one = _spoken_by_one(inputs["utterances"].table)
        heard = sorted(name for name in inputs if name.startswith("hypotheses/"))
        selected = []
        for utterance in tables["utterances"].values():
            key = utterance["utterance_id"]
            aligned = tables["alignment"].get(key)
            if aligned is None:  # consensus dropped it, and said so
                continue
            hypotheses = {
                name.removeprefix("hypotheses/"): tables[name][key]["text"]
                for name in heard
                if key in tables[name] and tables[name][key]["error"] is None
            }
            recording = recordings[utterance["recording_id"]]
            quality = tables["quality"][key]
            consensus = tables["consensus"][key]
            metadata = _metadata(
                utterance, recording, quality, consensus, aligned, hypotheses, self._models
            )
            metadata |= _as_corrected(metadata, self._corrections.get(key))
            if "speaker" in metadata["given"] and utterance["recording_id"] in spoken_by_one:
                metadata["speaker"] = str(metadata["given"]["speaker"])
            # Not of a label that a person wrote.
            if self._calibration and metadata["corrected_by"] is None:
                metadata["expected_wer"] = self._calibration.expected(
                    consensus["pwer"], utterance["duration_s"]
                )
            expected = metadata.get("expected_wer")
            mos = metadata["mos"][quality["kept_version"]]
            selected.append(
                {
                    **metadata,
                    "expected_wer": expected["value"] if expected else None,
                    "mos": mos["overall"] if mos else None,
                    "bytes": len(inputs["utterances"].files[audio_name(key, metadata)]),
                    "json": json.dumps(metadata, ensure_ascii=False, sort_keys=True),
                }
            )
        seconds = sum(row["duration_s"] for row in selected)
        return Artifact(pa.Table.from_pylist(selected, SELECTED), audio_s=seconds)


def audio_name(utterance_id: str, row: Mapping[str, Any]) -> str:
    """Name of the kept version's FLAC among the files of `utterances`."""
    return f"{utterance_id}.{row['kept_version']}.flac"


def _metadata(
    utterance: dict,
    recording: dict,
    quality: dict,
    consensus: dict,
    aligned: dict,
    hypotheses: dict[str, str],
    models: dict[str, str],
) -> dict[str, Any]:
    """KEY.json: the fields of docs/dataset.md."""
    return {
        "schema_version": SCHEMA_VERSION,
        **{name: utterance[name] for name in OF_UTTERANCE},
        **{name: consensus[name] for name in OF_CONSENSUS},
        **{name: quality[name] for name in ("kept_version", *MEASURES)},
        "source": recording["path"],
        "channel": recording["channel"],
        "start_s": recording["start_s"] + utterance["start_s"],
        "end_s": recording["start_s"] + utterance["end_s"],
        "text": aligned["text"],
        "text_before_punctuation": aligned["text_before"],
        "punctuation_edits": aligned["edits"],
        "words": aligned["words"],
        "words_from": aligned["aligner"],
        "hypotheses": hypotheses,
        "mos": {v: quality[f"{v}_mos"] for v in ("normalized", "denoised")},
        "models": models,
        "given": json.loads(recording["given"]),
    }


def _spoken_by_one(utterances: pa.Table) -> frozenset[str]:
    """Recordings with one speaker, whom a manifest may name: ids."""
    counts = utterances.group_by("recording_id").aggregate([("speaker", "count_distinct")])
    once = counts.filter(pc.equal(counts["speaker_count_distinct"], 1))
    return frozenset(once["recording_id"].to_pylist())


def _as_corrected(metadata: Mapping[str, Any], correction: Correction | None) -> dict[str, Any]:
    """The label of a person, where there is one for this audio, and what it was.

    Word times are of the words that recognisers heard: with other words there are none.
    """
    if correction is None or not correction.of(metadata["duration_s"]):
        return {"corrected_by": None, "text_before_correction": None}
    before, language = metadata["text"], metadata["language"]
    same = units(before, language) == units(correction.text, language)
    return {
        "text": correction.text,
        "corrected_by": correction.corrected_by,
        "text_before_correction": before,
        **({} if same else {"words": [], "words_from": ""}),
    }
