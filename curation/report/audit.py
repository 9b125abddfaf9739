"""The audit: one pass over a run's tables, and its figures for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from gpa.curation.report.funnel import Funnel
from gpa.curation.report.outputs import DROPPED, Run
from gpa.curation.report.overlap import ErrorOverlap
from gpa.curation.report.recognisers import LENGTHS_S, MOS_STEPS, Agreement, Group, ratio
from gpa.curation.report.samples import Sampler
from gpa.curation.report.speech import Speech
from gpa.curation.report.utterances import read_utterances

READ = ("recordings", "normalized", "utterances", "quality", "consensus", "alignment", "packaged")


@dataclass(frozen=True)
class Audit:
    """Sums over a run, and the samples drawn from it."""

    funnel: Funnel
    agreement: Agreement
    speech: Speech
    sampler: Sampler


def audit(run: Run, samples: int) -> Audit:
    """Read a run once, partition by partition; draws at most `samples` samples."""
    agreement = Agreement(run.voters, run.consensus_config, run.exact_to)
    found = Audit(Funnel(), agreement, Speech(run.scorer), Sampler(samples))
    found.funnel.add_files(run)
    for partition in run.ahead(DROPPED, *READ):
        utterances = read_utterances(run, partition)
        dropped = found.funnel.add(run, partition, utterances)
        found.sampler.add(partition, utterances, dropped)
        if utterances is not None and utterances.decided:
            found.agreement.add(utterances)
            found.speech.add(run, partition, utterances)
    return found


def figures(found: Audit, partial: bool, overlaps: Sequence[ErrorOverlap] = ()) -> dict[str, Any]:
    """What the page shows, for machines; seconds rounded to milliseconds."""
    funnel, agreement, speech = found.funnel, found.agreement, found.speech
    return {
        "partial": partial,
        "reconciles": funnel.reconciles,
        "funnel": {
            "in_s": round(funnel.in_s, 3),
            "kept_s": round(funnel.kept_s, 3),
            "kept_utterances": funnel.kept_utterances,
            "undecided_s": round(funnel.undecided_s, 3),
            "unaccounted_s": round(funnel.balance_s, 3) + 0.0,
            "dropped": [row | {"seconds": round(row["seconds"], 3)} for row in funnel.rows()],
        },
        "max_pwer": agreement.threshold,
        "thresholds": agreement.thresholds(),
        "other_rule": {
            "rule": "plain" if agreement.leaves_out else "outlier",
            "gained": group_figures(agreement.gained),
            "lost": group_figures(agreement.lost),
        },
        "early_exit": {
            "exact_to": agreement.exact_to,
            "utterances": agreement.early_exits,
            "seconds": round(agreement.early_exits_s, 3),
        },
        "given_texts": agreement.given_texts(),
        "pairwise_wer": {
            "asrs": agreement.asrs,
            "wer": agreement.pairwise(),
            "utterances": agreement.pair_count.tolist(),
        },
        "leave_one_out": agreement.leave_one_out(),
        "error_overlap": [
            {**asdict(pair), "expected_both_wrong": pair.expected_both_wrong} for pair in overlaps
        ],
        "struck": [
            {"asr": asr, "reason": reason, "hypotheses": count}
            for (asr, reason), count in sorted(agreement.struck.items())
        ],
        "by_language": {
            name: group_figures(group) for name, group in sorted(agreement.languages.items())
        },
        "by_length_s": {
            label: group_figures(group)
            for label, group in zip(bin_labels(LENGTHS_S, "s"), agreement.lengths, strict=True)
        },
        "by_mos": {
            label: group_figures(group)
            for label, group in zip(bin_labels(MOS_STEPS, ""), agreement.qualities, strict=True)
        },
        "speakers": agreement.speakers.count,
        "expected_wer": speech.mean_expected_wer,
        "expected_wer_s": round(speech.expected_s, 3),
        "clipped": dict(speech.clipped),
        "mos_before": ratio(speech.mos_sums[0], speech.mos_count),
        "mos_after": ratio(speech.mos_sums[1], speech.mos_count),
        "punctuation_edits": [
            {"action": action, "mark": mark, "edits": count}
            for (action, mark), count in sorted(speech.marks.items())
        ],
    }


def bin_labels(edges: tuple[float, ...], unit: str) -> list[str]:
    """ "1 to 2 s", and for the last one "30 s and more"."""
    suffix = f" {unit}" if unit else ""
    labels = [f"{low:g} to {high:g}{suffix}" for low, high in pairwise(edges)]
    return [*labels, f"{edges[-1]:g}{suffix} and more"]


def group_figures(group: Group) -> dict[str, Any]:
    """One group for machines."""
    return {
        "utterances": group.utterances,
        "kept": group.kept,
        "seconds": round(group.seconds, 3),
        "kept_s": round(group.kept_s, 3),
        "mean_pwer": group.mean_pwer,
    }


def as_json(content: dict[str, Any]) -> bytes:
    """The bytes of `report/summary.json`."""
    return json.dumps(content, indent=1, ensure_ascii=False).encode()
