"""Who speaks in what was cut: speech kept, cross-talk, purity, coverage, diarization error rate.

Speakers are those of one recording: truth and pipeline name them each in their own way, and are
matched by the time that they share. Only recordings whose truth has the times of turns count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import (
    DiarizationCoverage,
    DiarizationErrorRate,
    DiarizationPurity,
)

from gpa.curation.intervals import Estimate, ratio
from gpa.curation.spans import Span, intersect, subtract
from gpa.eval.labels.outputs import Recording, Utterance
from gpa.eval.labels.truth import Seconds, Truth, TruthTurn

# Around every boundary of a turn, both sides together: nobody can mark it more exactly.
COLLAR_S = 0.5


def _milliseconds(spans: Sequence[Seconds]) -> list[Span]:
    return [(round(start_s * 1000), round(end_s * 1000)) for start_s, end_s in spans]


def _seconds(spans: Sequence[Span]) -> float:
    return sum(end - start for start, end in spans) / 1000


def _times(turns: Sequence[TruthTurn]) -> list[Seconds]:
    return [(turn.start_s, turn.end_s) for turn in turns]


@dataclass(frozen=True)
class TurnKept:
    """Seconds of one turn in which nobody else speaks, and how many of them were kept."""

    alone_s: float
    kept_s: float
    noisy_s: float  # of alone_s, in noise that the truth marks
    noisy_kept_s: float


def kept_of_turns(truth: Truth, kept: Sequence[Seconds]) -> list[TurnKept]:
    """What was kept of each turn of a recording, given the spans that were kept."""
    kept_spans, noise = _milliseconds(kept), _milliseconds(truth.noise)
    found = []
    for turn in truth.turns:
        others = [other for other in truth.turns if other.speaker != turn.speaker]
        alone = subtract(_milliseconds(_times([turn])), _milliseconds(_times(others)))
        noisy = intersect(alone, noise)
        found.append(
            TurnKept(
                alone_s=_seconds(alone),
                kept_s=_seconds(intersect(alone, kept_spans)),
                noisy_s=_seconds(noisy),
                noisy_kept_s=_seconds(intersect(noisy, kept_spans)),
            )
        )
    return found


def foreign_speech_s(truth: Truth, start_s: float, end_s: float) -> float:
    """Seconds between two times in which somebody else than the main speaker there talks."""
    span = _milliseconds([(start_s, end_s)])
    by_speaker = {
        speaker: intersect(
            span, _milliseconds(_times([t for t in truth.turns if t.speaker == speaker]))
        )
        for speaker in sorted({turn.speaker for turn in truth.turns})
    }
    main = max(by_speaker, key=lambda speaker: _seconds(by_speaker[speaker]), default=None)
    others = [part for speaker, parts in by_speaker.items() if speaker != main for part in parts]
    return _seconds(intersect(others, span))


def speaker_figures(
    recordings: Sequence[tuple[Recording, Truth, Sequence[Utterance]]],
) -> dict[str, Estimate]:
    """Purity, coverage, and diarization error rate with its parts, over whole recordings.

    The utterances stand for the diarization: what segmentation dropped counts as missed.
    Overlapped speech, which it drops on purpose, is not scored. Purity and coverage are of the
    speech that is in both, so that they judge labels alone. Units are recordings.
    """
    error_rate = DiarizationErrorRate(collar=COLLAR_S, skip_overlap=True)
    purity, coverage = DiarizationPurity(), DiarizationCoverage()
    errors, pure, covered = [], [], []
    for recording, truth, utterances in recordings:
        reference, hypothesis = Annotation(), Annotation()
        for index, turn in enumerate(truth.turns):
            reference[Segment(turn.start_s, turn.end_s), index] = turn.speaker
        for index, cut in enumerate(utterances):
            hypothesis[Segment(cut.start_s, cut.end_s), index] = cut.speaker
        whole = Timeline([Segment(0.0, recording.duration_s)])
        errors.append(error_rate(reference, hypothesis, uem=whole, detailed=True))
        alone = reference.get_timeline().support().extrude(reference.get_overlap())
        in_both = alone.crop(hypothesis.get_timeline().support(), mode="intersection")
        parts = reference.crop(in_both), hypothesis.crop(in_both)
        pure.append(purity(*parts, detailed=True, uem=whole))
        covered.append(coverage(*parts, detailed=True, uem=whole))

    def over(details: Sequence[dict[str, float]], *names: str) -> Estimate:
        return ratio(
            [sum(found[name] for name in names) for found in details],
            [found["total"] for found in details],
        )

    wrong = ("missed detection", "false alarm", "confusion")
    return {
        "speaker purity of cuts": over(pure, "correct"),
        "speaker coverage of cuts": over(covered, "correct"),
        "diarization error rate": over(errors, *wrong),
        **{f"of it {name}": over(errors, name) for name in wrong},
    }
