"""`gpa score`: a finished curation run against ground truth.

What belongs to what, and how far each text is from what was said, is found in `judged.py`; here
stand the figures of it, and how they are printed.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gpa.curation.intervals import CONFIDENCE, Estimate, mean, ratio, relative, share
from gpa.curation.report.overlap import ErrorOverlap, total
from gpa.eval.labels import cuts, independence, punctuation, reference, speakers, versions
from gpa.eval.labels.judged import LABEL, JudgedText, Matched, judge_texts, match
from gpa.eval.labels.outputs import Output, Utterance, read_output
from gpa.eval.labels.truth import Truth, read_truth
from gpa.eval.metrics import Errors, corpus_wer
from gpa.runtime.errors import UserError

# Another speaker is heard in an utterance from this much on.
CROSS_TALK_S = 0.1


@dataclass(frozen=True)
class Score:
    """Everything that `gpa score` prints: figures by section, and what they rest on."""

    figures: dict[str, dict[str, Estimate]]
    judged: dict[str, int]  # utterances by the way in which their truth text was found
    notes: list[str] = field(default_factory=list)


def score(output: Output, truths: Mapping[str, Truth], hear_versions: bool = False) -> Score:
    """All figures of a run, from its tables and audio.

    With `hear_versions` its ASRs are loaded, and hear the version of the audio that the run did not
    transcribe: that takes longer than everything else together.
    """
    matched = match(output, truths)
    judged = judge_texts(matched, output.asrs)
    timed = [item for item in matched if item.truth.timed]
    notes = []
    if len(matched) < len(output.recordings):
        notes.append(
            f"{len(output.recordings) - len(matched)} of {len(output.recordings)} recordings "
            "have no ground truth and are left out."
        )
    if 0 < len(timed) < 10:
        notes.append(
            f"Speaker figures rest on {len(timed)} recordings: their intervals are no more than a hint."
        )
    spared = sorted({asr for item in judged for asr in item.utterance.skipped})
    if spared:
        notes.append(
            f"Early exit spared {', '.join(spared)} the utterances with most disagreement, so their "
            "WER is not given; score a run without transcribe.early_exit for that."
        )
    boundary_figures, boundary_note = _boundary_figures(matched, output)
    notes.append(boundary_note)
    utterances = [utterance for item in matched for utterance in item.utterances]
    said = {item.utterance.utterance_id: item.reference for item in judged}
    of_versions: dict[str, Estimate] = {}
    try:
        if hear_versions:
            of_versions = versions.version_figures(output, utterances, said)
    except UserError as error:
        notes.append(f"What the ASRs hear in the other version is not known: {error}")
    figures = {
        "Kept and clean": _kept_figures(timed),
        "Text": _text_figures(judged, output.asrs),
        "Independence of the recognisers": independence.figures(judged),
        "Speakers": speakers.speaker_figures(
            [(item.recording, item.truth, item.utterances) for item in timed]
        )
        if timed
        else {},
        "Boundaries": boundary_figures,
        "Punctuation": _punctuation_figures(matched),
        "Audio and agreement": _agreement_figures(utterances, output.scorer) | of_versions,
    }
    counts: Counter[str] = Counter(item.reference.way for item in judged)
    every = sum(len(item.utterances) for item in matched)
    counts.update({"truth has no words": every - len(judged)})
    return Score(figures, {way: count for way, count in sorted(counts.items()) if count}, notes)


def _kept_figures(timed: Sequence[Matched]) -> dict[str, Estimate]:
    turns = [
        kept
        for item in timed
        for kept in speakers.kept_of_turns(item.speech, [(u.start_s, u.end_s) for u in item.kept])
    ]
    foreign = [
        speakers.foreign_speech_s(item.truth, utterance.start_s, utterance.end_s)
        for item in timed
        for utterance in item.kept
    ]
    return {
        "single-speaker speech kept": ratio([t.kept_s for t in turns], [t.alone_s for t in turns]),
        "the same, where it is clean": ratio(
            [t.kept_s - t.noisy_kept_s for t in turns], [t.alone_s - t.noisy_s for t in turns]
        ),
        "the same, in noise": ratio([t.noisy_kept_s for t in turns], [t.noisy_s for t in turns]),
        "kept utterances with cross-talk": share(seconds > CROSS_TALK_S for seconds in foreign),
    }


def _text_figures(judged: Sequence[JudgedText], asrs: Sequence[str]) -> dict[str, Estimate]:
    """WER by language and text, over all, kept and dropped utterances.

    An ASR is scored on the languages in which it heard something, unless early exit spared it
    some of it, and with that the hardest.
    """
    figures = {}
    for language in sorted({item.reference.language for item in judged}):
        of_language = [item for item in judged if item.reference.language == language]
        speaks = [
            asr
            for asr in asrs
            if any(item.utterance.hypotheses.get(asr) for item in of_language)
            and not any(asr in item.utterance.skipped for item in of_language)
        ]
        for name, system in [("label", LABEL), *((asr, asr) for asr in speaks)]:
            for which, chosen in (
                ("all", of_language),
                ("kept", [item for item in of_language if item.utterance.kept]),
                ("dropped", [item for item in of_language if not item.utterance.kept]),
            ):
                figures[f"{language}: {name}, {which}"] = corpus_wer(
                    item.errors[system] for item in chosen
                )
        best = min(speaks, key=lambda asr: figures[f"{language}: {asr}, all"].value, default=None)
        if best is not None:
            figures[f"{language}: label kept / best ASR on all"] = relative(
                _sums([(item.errors[LABEL], item.utterance.kept) for item in of_language]),
                _sums([(item.errors[best], True) for item in of_language]),
            )
    return figures


def _sums(counts: Sequence[tuple[Errors, bool]]) -> tuple[list[int], list[int]]:
    """Edits and reference units by utterance, zero for those that do not count."""
    return (
        [found.edits * counted for found, counted in counts],
        [found.reference_units * counted for found, counted in counts],
    )


def _boundary_figures(
    matched: Sequence[Matched], output: Output
) -> tuple[dict[str, Estimate], str]:
    cut_words: list[bool] = []
    evidence: Counter[str] = Counter()
    made: list[cuts.Trial] = []
    for item in matched:
        if not item.truth.timed and not item.truth.words:
            continue
        waveform, sample_rate = output.waveform(item.recording)
        languages = Counter(utterance.language for utterance in item.utterances)
        main_language = max(sorted(languages), key=languages.__getitem__, default="")
        turns = cuts.words_of_turns(item.whole_turns, waveform, sample_rate, main_language)
        for turn in turns:
            if turn.words:
                made += cuts.trials(turn.words, waveform, sample_rate, output.segment)
        for utterance in item.kept:
            own = {
                (turn.start_s, turn.end_s)
                for turn in reference.heard(item.truth, utterance.start_s, utterance.end_s).turns
            }
            of_utterance = [t for t in turns if item.truth.words or (t.start_s, t.end_s) in own]
            for at_s in (utterance.start_s, utterance.end_s):
                cut, why = cuts.is_cut(at_s, of_utterance, waveform, sample_rate)
                evidence[why] += 1
                cut_words.append(cut)
    first, last = cut_words[0::2], cut_words[1::2]
    through = [trial.caught for trial in made if trial.through_word]
    clean = [trial.caught for trial in made if not trial.through_word]
    told = ", ".join(f"{count} by {why}" for why, count in sorted(evidence.items())) or "none"
    return {
        "kept utterances with a cut word": share(
            head or tail for head, tail in zip(first, last, strict=True)
        ),
        "first word cut": share(first),
        "last word cut": share(last),
        "cuts through words that are caught": share(through),
        "clean cuts that are dropped": share(clean),
    }, f"Boundaries of kept utterances judged: {told}."


def _punctuation_figures(matched: Sequence[Matched]) -> dict[str, Estimate]:
    """Marks of kept utterances, of turns that have a written text."""
    counts: dict[str, list[dict[punctuation.Mark, punctuation.MarkCounts]]] = defaultdict(list)
    for item in matched:
        for utterance in item.kept:
            found = reference.heard(item.truth, utterance.start_s, utterance.end_s)
            if not found.turns or any(turn.written is None for turn in found.turns):
                continue
            before = punctuation.words_and_marks(utterance.text_before or "")
            after = punctuation.words_and_marks(utterance.text_after or "")
            _, first, last = reference.window(
                found, lambda turn: punctuation.words_and_marks(turn.written or "")[0], [before[0]]
            )
            words, marks = [], []
            for turn in found.turns:
                of_turn = punctuation.words_and_marks(turn.written or "")
                words += of_turn[0]
                marks += of_turn[1]
            truth = words[first:last], marks[first:last]
            counts["before"].append(punctuation.count_marks(truth, before))
            counts["after"].append(punctuation.count_marks(truth, after))
    figures = {}
    for mark in punctuation.MARKS:
        for when in ("before", "after"):
            found_marks = [count[mark] for count in counts[when]]
            right = [c.right for c in found_marks]
            written = [c.right + c.missed for c in found_marks]
            heard = [c.right + c.wrong for c in found_marks]
            figures[f"{mark} precision, {when}"] = ratio(right, heard)
            figures[f"{mark} recall, {when}"] = ratio(right, written)
            figures[f"{mark} F1, {when}"] = ratio(
                [2 * n for n in right], [w + h for w, h in zip(written, heard, strict=True)]
            )
    return figures


def _agreement_figures(utterances: Sequence[Utterance], scorer: str) -> dict[str, Estimate]:
    """Quality of all cuts in both versions, and pWER of what was kept and dropped."""
    both = [
        (u.normalized_mos, u.denoised_mos, u.kept_version)
        for u in utterances
        if u.normalized_mos and u.denoised_mos
    ]

    def agreement(chosen: Sequence[Utterance]) -> Estimate:
        return mean(u.pwer for u in chosen if u.pwer is not None)

    return {
        f"{scorer} overall, normalized": mean(before.overall for before, _, _ in both),
        f"{scorer} overall, denoised": mean(after.overall for _, after, _ in both),
        f"{scorer} overall, version kept": mean(
            (after if version == "denoised" else before).overall for before, after, version in both
        ),
        f"{scorer} signal, normalized": mean(
            before.signal for before, _, _ in both if before.signal is not None
        ),
        f"{scorer} signal, denoised": mean(
            after.signal for _, after, _ in both if after.signal is not None
        ),
        "denoised version kept": share(version == "denoised" for _, _, version in both),
        "pWER, kept": agreement([u for u in utterances if u.kept]),
        "pWER, dropped": agreement([u for u in utterances if not u.kept]),
    }


# The bars of this project on recordings like the development set's, as a reader wants them.
AIMS = {
    "single-speaker speech kept": ">= 60 %",
    "kept utterances with cross-talk": "< 2 %",
    "cuts through words that are caught": ">= 90 %",
    "clean cuts that are dropped": "<= 5 %",
    "comma F1, after": ">= before",
    "stop F1, after": ">= before",
}
_RATIO_AIM = "<= 50 %"


def _shown(name: str, value: float) -> str:
    if math.isnan(value):
        return "–"
    is_share = "MOS " not in name and not name.endswith("times chance")
    return f"{value:.1%}" if is_share else f"{value:.2f}"


def show(result: Score, console: Console) -> None:
    """Print one table a section."""
    for section, figures in result.figures.items():
        if not figures:
            continue
        table = Table(title=section, title_justify="left", box=None, pad_edge=False)
        table.add_column("", min_width=38)
        for column in ("", f"{CONFIDENCE:.0%} interval", "n"):
            table.add_column(column, justify="right")
        table.add_column("aim")
        for name, estimate in figures.items():
            low, high = _shown(name, estimate.low), _shown(name, estimate.high)
            aim = _RATIO_AIM if name.endswith("best ASR on all") else AIMS.get(name, "")
            table.add_row(
                name,
                _shown(name, estimate.value),
                "" if low == "–" else f"{low} to {high}",
                str(estimate.count),
                aim,
            )
        console.print(table)
        console.print()
    ways = ", ".join(f"{count} {way}" for way, count in result.judged.items())
    console.print(f"Truth texts of all cuts by: {ways}.", soft_wrap=True)
    for note in result.notes:
        console.print(note, soft_wrap=True)


def as_json(result: Score) -> str:
    """The figures for machines; null where there was nothing to measure."""
    content = {
        "figures": {
            section: {name: estimate.as_json() for name, estimate in figures.items()}
            for section, figures in result.figures.items()
        },
        "judged": result.judged,
        "notes": result.notes,
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def error_overlaps(out: str, truth: Path) -> list[ErrorOverlap]:
    """How often each two ASRs of a run err together, for its report."""
    output = read_output(out)
    judged = judge_texts(match(output, read_truth(truth)), output.asrs)
    return [total(pair) for pair in independence.error_overlaps(judged).values()]


def run(
    out: str, truth: Path, json_file: Path | None, console: Console, hear_versions: bool = False
) -> None:
    """`gpa score OUT --truth DIR`."""
    result = score(read_output(out), read_truth(truth), hear_versions)
    show(result, console)
    if json_file is not None:
        json_file.write_text(as_json(result), encoding="utf-8")
