"""A finished OUT as evaluation sees it: utterances with all that the tables say of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass
from functools import lru_cache

from gpa.curation.audio import Waveform, decode_flac
from gpa.curation.consensus.stage import ConsensusConfig
from gpa.curation.models.protocols import MOS
from gpa.curation.report.outputs import Run
from gpa.curation.segment.stage import SegmentConfig
from gpa.curation.transcribe.stage import TranscribeConfig
from gpa.eval.labels.truth import stem
from gpa.runtime import record
from gpa.runtime.artifacts import ArtifactStore
from gpa.runtime.config import parse
from gpa.runtime.stage import rows
from gpa.runtime.storage import Store


@dataclass(frozen=True)
class Utterance:
    """One cut. `label` is the text it has, or would have if it were kept."""

    utterance_id: str
    recording_id: str
    recording: str  # `truth.stem` of the recording's file
    partition: str
    start_s: float
    end_s: float
    speaker: str
    kept: bool
    reason: str | None  # why consensus dropped it
    language: str
    pwer: float | None
    verifier_distance: float | None
    label: str | None
    hypotheses: Mapping[str, str]  # ASR -> text, of all that did not fail
    skipped: Collection[str]  # the ASRs that early exit spared this utterance
    text_before: str | None  # before and after the pause rule; None where consensus dropped it
    text_after: str | None
    kept_version: str | None
    normalized_mos: MOS | None
    denoised_mos: MOS | None

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end_s - self.start_s


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
    exact_to: float  # the highest threshold of pWER that the tables can answer for
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
    store = Store(out)
    content = record.require(store)
    artifacts, named = ArtifactStore(store), content["fingerprints"]
    run = Run(artifacts, content, partial=False)
    heard = [name for name in named if name.startswith("hypotheses/")]
    utterances: list[Utterance] = []
    recordings: list[Recording] = []
    for partition in content["partitions"]:

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
        said = {name.removeprefix("hypotheses/"): table(name) for name in heard}
        for key, cut in table("utterances").items():
            if names is not None and stem(paths[cut["recording_id"]]) not in names:
                continue
            utterances.append(
                _utterance(
                    cut,
                    paths[cut["recording_id"]],
                    partition,
                    key in alignment,
                    consensus[key],
                    alignment.get(key, {}),
                    quality.get(key, {}),
                    {
                        asr: by_key[key]["text"]
                        for asr, by_key in said.items()
                        if key in by_key and by_key[key]["error"] is None
                    },
                    [
                        asr
                        for asr, by_key in said.items()
                        if key in by_key and by_key[key]["pwer_at_least"] is not None
                    ],
                )
            )

    # Opening an artifact reads all of it, to check it; whoever goes through a run in its order
    # opens each once, and none stays that is not needed.
    @lru_cache(maxsize=2)
    def files(name: str, partition: str) -> Mapping[str, bytes]:
        return artifacts.read(name, named[name], partition).files

    return Output(
        utterances=tuple(utterances),
        recordings=tuple(recordings),
        asrs=tuple(name.removeprefix("hypotheses/") for name in heard),
        exact_to=run.exact_to,
        scorer=run.scorer,
        consensus=parse(ConsensusConfig, content["config"]["consensus"], f"{out}/run.json"),
        segment=parse(SegmentConfig, content["config"]["segment"], f"{out}/run.json"),
        transcribe=parse(TranscribeConfig, content["config"]["transcribe"], f"{out}/run.json"),
        _files=files,
    )


def _utterance(
    cut: Mapping,
    path: str,
    partition: str,
    kept: bool,
    consensus: Mapping,
    aligned: Mapping,
    quality: Mapping,
    hypotheses: Mapping[str, str],
    skipped: Collection[str],
) -> Utterance:
    def mos(version: str) -> MOS | None:
        found = quality.get(f"{version}_mos")
        return MOS(**found) if found else None

    return Utterance(
        utterance_id=cut["utterance_id"],
        recording_id=cut["recording_id"],
        recording=stem(path),
        partition=partition,
        start_s=cut["start_s"],
        end_s=cut["end_s"],
        speaker=cut["speaker"],
        kept=kept,
        reason=consensus["reason"],
        language=consensus["language"],
        pwer=consensus["pwer"],
        verifier_distance=consensus["verifier_distance"],
        label=aligned.get("text", consensus["text"]),
        hypotheses=hypotheses,
        skipped=skipped,
        text_before=aligned.get("text_before"),
        text_after=aligned.get("text"),
        kept_version=quality.get("kept_version"),
        normalized_mos=mos("normalized"),
        denoised_mos=mos("denoised"),
    )
