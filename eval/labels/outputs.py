"""A finished OUT as evaluation sees it: utterances with all that the tables say of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gpa.curation.audio import Waveform, decode_flac
from gpa.curation.consensus.stage import ConsensusConfig
from gpa.curation.models.protocols import MOS
from gpa.curation.report.outputs import open_run
from gpa.curation.segment.stage import SegmentConfig
from gpa.curation.transcribe.stage import TranscribeConfig
from gpa.eval.labels.decisions import Decision
from gpa.eval.labels.truth import stem
from gpa.runtime.config import parse
from gpa.runtime.stage import rows


@dataclass(frozen=True)
class Utterance(Decision):
    """One cut. `label` is the text it has, or would have if it were kept."""

    skipped: Collection[str]  # the ASRs that early exit spared this utterance
    recording_id: str
    partition: str
    start_s: float
    end_s: float
    speaker: str
    label: str | None
    hypotheses: Mapping[str, str]  # ASR -> text, of all that did not fail
    text_before: str | None  # before and after the pause rule; None where consensus dropped it
    text_after: str | None
    kept_version: str | None
    normalized_mos: MOS | None
    denoised_mos: MOS | None


@dataclass(frozen=True)
class Recording:
    """One recording that was decoded."""

    recording_id: str
    path: str  # as the corpus names it
    duration_s: float
    partition: str
    start_s: float = 0.0  # in the file, of the segment that it is
    is_segment: bool = False


@dataclass(frozen=True)
class Output:
    """A finished run; utterances and recordings in the order of its partitions."""

    utterances: tuple[Utterance, ...]
    recordings: tuple[Recording, ...]
    asrs: tuple[str, ...]
    scorer: str  # what people call the model of the quality scores
    consensus: ConsensusConfig
    segment: SegmentConfig
    transcribe: TranscribeConfig
    # Files of a stage's artifact, by its name and partition.
    _files: Callable[[str, str], Mapping[str, bytes]]

    def waveform(self, recording: Recording) -> tuple[Waveform, int]:
        """The normalised recording, shape (samples,), and its rate in Hz."""
        files = self._files("normalized", recording.partition)
        return decode_flac(files[f"{recording.recording_id}.flac"])

    def clip(self, utterance: Utterance, version: str) -> tuple[Waveform, int]:
        """One version of an utterance, shape (samples,), and its rate in Hz."""
        files = self._files("utterances", utterance.partition)
        return decode_flac(files[f"{utterance.utterance_id}.{version}.flac"])


def read_output(out: str, names: Container[str] | None = None) -> Output:
    """Read the tables of a finished run; raises UserError where there is none.

    Where `names` are given (`truth.stem`), utterances of other recordings are left out.
    """
    run = open_run(out, finished=True)
    artifacts, named, config = run.artifacts, run.fingerprints, run.content["config"]
    asrs = [name.removeprefix("hypotheses/") for name in named if name.startswith("hypotheses/")]
    utterances: list[Utterance] = []
    recordings: list[Recording] = []
    for partition in run.partitions:

        def table(name: str, key: str = "utterance_id", partition: str = partition) -> dict:
            found = artifacts.table(name, named[name], partition)
            return {row[key]: row for row in rows(found)}

        listed = table("recordings", "recording_id")
        paths = {key: row["path"] for key, row in listed.items()}
        for key, row in table("normalized", "recording_id").items():
            start_s, end_s = listed[key]["start_s"], listed[key]["end_s"]
            is_segment = bool(start_s) or end_s is not None
            recordings.append(
                Recording(key, paths[key], row["duration_s"], partition, start_s, is_segment)
            )
        if names is not None and not any(stem(path) in names for path in paths.values()):
            continue
        consensus, alignment, quality = table("consensus"), table("alignment"), table("quality")
        said = {asr: table(f"hypotheses/{asr}") for asr in asrs}
        for key, cut in table("utterances").items():
            if names is not None and stem(paths[cut["recording_id"]]) not in names:
                continue
            decided, aligned = consensus[key], alignment.get(key, {})
            scored = quality.get(key, {})
            heard = {asr: by_key[key] for asr, by_key in said.items() if key in by_key}
            utterances.append(
                Utterance(
                    utterance_id=key,
                    recording_id=cut["recording_id"],
                    partition=partition,
                    start_s=cut["start_s"],
                    end_s=cut["end_s"],
                    seconds=cut["end_s"] - cut["start_s"],
                    speaker=cut["speaker"],
                    kept=key in alignment,
                    reason=decided["reason"],
                    language=decided["language"],
                    pwer=decided["pwer"],
                    verifier_distance=decided["verifier_distance"],
                    label=aligned.get("text", decided["text"]),
                    hypotheses={a: row["text"] for a, row in heard.items() if row["error"] is None},
                    skipped=[a for a, row in heard.items() if row["pwer_at_least"] is not None],
                    text_before=aligned.get("text_before"),
                    text_after=aligned.get("text"),
                    kept_version=scored.get("kept_version"),
                    normalized_mos=_mos(scored.get("normalized_mos")),
                    denoised_mos=_mos(scored.get("denoised_mos")),
                )
            )

    # Opening an artifact reads all of it, to check it; whoever goes through a run in its order
    # opens each once, and none stays that is not needed.
    @lru_cache(maxsize=2)
    def files(name: str, partition: str) -> Mapping[str, bytes]:
        return artifacts.files(name, named[name], partition)

    return Output(
        utterances=tuple(utterances),
        recordings=tuple(recordings),
        asrs=tuple(asrs),
        scorer=run.scorer,
        consensus=parse(ConsensusConfig, config["consensus"], f"{out}/run.json"),
        segment=parse(SegmentConfig, config["segment"], f"{out}/run.json"),
        transcribe=parse(TranscribeConfig, config["transcribe"], f"{out}/run.json"),
        _files=files,
    )


def _mos(scores: Mapping[str, Any] | None) -> MOS | None:
    return MOS(**scores) if scores else None
