"""A run's recordings and utterances beside the truth: what belongs to what, and who erred how far.

Recordings and truth are matched by file stem, and by folders where that is not enough. All texts are compared in agreement units (words
after Whisper's English normaliser, characters of Chinese), so that the WER of a language written
in characters is its CER. Recordings of the truth that were not in the run are left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gpa.curation.text.units import units
from gpa.eval.labels import reference
from gpa.eval.labels.outputs import Output, Recording, Utterance
from gpa.eval.labels.truth import Truth, matches
from gpa.eval.metrics import Errors, errors
from gpa.runtime.errors import UserError

# The text that consensus chose, among the names of ASRs.
LABEL = "label"


@dataclass(frozen=True)
class JudgedText:
    """An utterance's texts against what was said in it."""

    utterance: Utterance
    reference: reference.Reference
    errors: Mapping[str, Errors]  # by ASR, and `LABEL`; a text that is missing is an empty one


@dataclass(frozen=True)
class Matched:
    """One recording of the run with its truth."""

    recording: Recording
    truth: Truth
    utterances: tuple[Utterance, ...]

    @property
    def speech(self) -> Truth:
        """Who speaks when, within the recording where that is a segment of a file."""
        if not self.recording.is_segment:
            return self.truth
        end_s = self.recording.duration_s
        turns = (
            replace(turn, start_s=max(0.0, turn.start_s), end_s=min(end_s, turn.end_s))
            for turn in self.truth.turns
        )
        return replace(self.truth, turns=tuple(turns))

    @property
    def whole_turns(self) -> Truth:
        """The turns of which a segment of a file holds all sound."""
        if not self.recording.is_segment:
            return self.truth
        end_s = self.recording.duration_s
        turns = (t for t in self.truth.turns if t.start_s >= 0 and t.end_s <= end_s)
        return replace(self.truth, turns=tuple(turns))

    @property
    def kept(self) -> list[Utterance]:
        return [utterance for utterance in self.utterances if utterance.kept]


def match(output: Output, truths: Mapping[str, Truth]) -> list[Matched]:
    """Recordings of the run that have a truth; raises UserError where none has."""
    by_recording: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in output.utterances:
        by_recording[utterance.recording_id].append(utterance)
    truth_of = matches([recording.path for recording in output.recordings], truths)
    found = [
        Matched(
            recording,
            _of(recording, truth_of[recording.path]),
            tuple(by_recording[recording.recording_id]),
        )
        for recording in output.recordings
        if recording.path in truth_of
    ]
    if not found:
        raise UserError(
            "No recording of the run has ground truth: the truth knows "
            f"{', '.join(sorted(truths)[:3])}, the run "
            f"{', '.join(r.path for r in output.recordings[:3]) or 'nothing'}."
        )
    return found


def _of(recording: Recording, truth: Truth) -> Truth:
    """What is known of a recording, which may be a segment of its file."""
    if not recording.is_segment:
        return truth
    return truth.of_segment(recording.start_s, recording.duration_s)


def judge_texts(matched: Sequence[Matched], asrs: Sequence[str]) -> list[JudgedText]:
    """Every utterance whose words the truth knows, kept or not."""
    judged = []
    for item in matched:
        for utterance in item.utterances:
            texts = {asr: utterance.hypotheses.get(asr, "") for asr in asrs}
            texts[LABEL] = utterance.label or ""
            said = reference.reference(
                item.truth,
                utterance.start_s,
                utterance.end_s,
                utterance.language,
                [*texts.values()],
            )
            if said is not None:
                found = {
                    name: errors(said.units, units(text, said.language))
                    for name, text in texts.items()
                }
                judged.append(JudgedText(utterance, said, found))
    return judged
