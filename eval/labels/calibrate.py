"""`gpa calibrate`: how good labels are, and how many hours stay, at every threshold of pWER.

Nothing is run again. Consensus keeps a label for whatever it drops for disagreement, so another
threshold is another cut through its table: `admitted` repeats its decision.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.table import Table

from gpa.curation.consensus.stage import ConsensusConfig
from gpa.curation.intervals import Estimate, ratio
from gpa.curation.package import verdicts
from gpa.curation.package.expected import Cell
from gpa.curation.report.samples import PWER_STRATA
from gpa.eval.labels.decisions import Decision, read_decisions
from gpa.eval.labels.judged import LABEL, JudgedText, judge_texts, match
from gpa.eval.labels.outputs import read_output
from gpa.eval.labels.truth import read_truth
from gpa.runtime.errors import UserError

# Labels of up to so many seconds, and longer ones, where there are enough of both.
SHORT_S = 5.0
FEWEST_JUDGED = 10
THRESHOLDS = tuple(percent / 100 for percent in range(51))


@dataclass(frozen=True)
class Judged:
    """One label and how wrong it is: `wrong` out of `total`, words or whole labels."""

    wrong: float
    total: float


@dataclass(frozen=True)
class Point:
    """What a threshold of pWER gives."""

    threshold: float
    utterances: int
    seconds: float
    error: Estimate  # of the labels that were judged


def admitted(utterance: Decision, threshold: float, config: ConsensusConfig) -> bool:
    """Whether consensus would keep an utterance under another `max_pwer`.

    What fell for another reason stays out, as does what early exit settled; what fell for
    disagreement must still satisfy the verifier of its language.
    """
    if utterance.reason is None:
        return utterance.kept and (utterance.pwer is None or utterance.pwer < threshold)
    if utterance.reason != "disagreement" or utterance.pwer is None or utterance.skipped:
        return False
    panel = config.panel(utterance.language)
    if panel is None or utterance.pwer >= threshold:
        return False
    if panel.verifier is None:
        return True
    distance = utterance.verifier_distance
    return distance is not None and distance <= panel.max_verifier_distance


def curve(
    utterances: Iterable[Decision],
    judged: Mapping[str, Judged],
    config: ConsensusConfig,
    thresholds: Sequence[float] = THRESHOLDS,
) -> list[Point]:
    """Labels' error and seconds kept at each threshold; a pure function of the tables.

    Seconds are those of all utterances that would be kept, error that of those that were judged.
    `thresholds` ascend; utterances are gone through once.
    """
    # By the first threshold that lets an utterance in: all above it do so, too.
    count, seconds = [0] * len(thresholds), [0.0] * len(thresholds)
    known: list[tuple[int, Judged]] = []
    for each in utterances:
        if not admitted(each, math.inf, config):
            continue
        first = 0 if each.pwer is None else bisect_right(thresholds, each.pwer)
        if first < len(thresholds):
            count[first] += 1
            seconds[first] += each.seconds
            if each.utterance_id in judged:
                known.append((first, judged[each.utterance_id]))
    points = []
    for place, threshold in enumerate(thresholds):
        kept = [item for first, item in known if first <= place]
        points.append(
            Point(
                threshold=threshold,
                utterances=sum(count[: place + 1]),
                seconds=sum(seconds[: place + 1]),
                error=ratio([each.wrong for each in kept], [each.total for each in kept]),
            )
        )
    return points


def expected_wer(
    utterances: Iterable[Decision], judged: Mapping[str, Judged], config: ConsensusConfig
) -> list[Cell]:
    """WER of the labels that were judged, by stratum of pWER and by length.

    A stratum with fewer than `FEWEST_JUDGED` short or long ones is one cell; with fewer than two
    it is none.
    """
    strata: dict[int, list[tuple[float, Judged]]] = {}
    for each in utterances:
        known = judged.get(each.utterance_id)
        if known and each.pwer is not None and admitted(each, math.inf, config):
            strata.setdefault(_stratum(each.pwer), []).append((each.seconds, known))
    edges = (-1.0, *PWER_STRATA, 1.0)
    cells = []
    for stratum, members in sorted(strata.items()):
        short = sum(seconds <= SHORT_S for seconds, _ in members)
        enough = min(short, len(members) - short) >= FEWEST_JUDGED
        spans = [(0.0, SHORT_S), (SHORT_S, None)] if enough else [(0.0, None)]
        for longer_than_s, to_s in spans:
            inside = [item for s, item in members if longer_than_s < s <= (to_s or math.inf)]
            error = ratio([item.wrong for item in inside], [item.total for item in inside])
            if not math.isnan(error.low):
                cells.append(
                    Cell(
                        pwer_above=edges[stratum],
                        pwer_to=edges[stratum + 1],
                        longer_than_s=longer_than_s,
                        to_s=to_s,
                        **vars(error),
                    )
                )
    return cells


def knee(points: Sequence[Point]) -> Point | None:
    """Where more hours begin to cost more: the point furthest from the chord of the curve.

    As in Kneedle (Satopaa et al. 2011): both axes from 0 to 1, and the greatest lead of hours
    over error. None where the curve has no two different points.
    """
    known = [point for point in points if not math.isnan(point.error.value)]
    if not known:
        return None
    seconds = [point.seconds for point in known]
    error = [point.error.value for point in known]
    seconds_range, error_range = max(seconds) - min(seconds), max(error) - min(error)
    if not seconds_range:
        return None

    def lead(point: Point) -> float:
        rise = (point.error.value - min(error)) / error_range if error_range else 0.0
        return (point.seconds - min(seconds)) / seconds_range - rise

    # `max` returns the first of equals: the strictest threshold.
    return max(known, key=lead)


def from_texts(judged: Sequence[JudgedText]) -> dict[str, Judged]:
    """Errors of labels against the truth's words."""
    return {
        item.utterance.utterance_id: Judged(
            item.errors[LABEL].edits, item.errors[LABEL].reference_units
        )
        for item in judged
    }


def from_verdicts(
    verdicts: Mapping[str, str], utterances: Iterable[Decision], config: ConsensusConfig
) -> dict[str, Judged]:
    """Labels that people found right or wrong; those they were unsure of say nothing.

    The report draws its samples by strata of pWER. So that they speak for all utterances, a
    verdict weighs as many as its stratum has for each verdict. Utterances that no
    threshold would keep have no weight.
    """
    known = {key: verdict for key, verdict in verdicts.items() if verdict != "unsure"}
    members: Counter[int] = Counter()
    heard: dict[int, list[str]] = {}
    for utterance in utterances:
        if not admitted(utterance, math.inf, config):
            continue
        stratum = _stratum(utterance.pwer)
        members[stratum] += 1
        if utterance.utterance_id in known:
            heard.setdefault(stratum, []).append(utterance.utterance_id)
    judged = {}
    for stratum, keys in heard.items():
        weight = members[stratum] / len(keys)
        for key in keys:
            judged[key] = Judged(weight * (known[key] == "wrong"), weight)
    return judged


def _stratum(pwer: float | None) -> int:
    return -1 if pwer is None else sum(pwer > edge for edge in PWER_STRATA)


def read_verdicts(file: Path) -> dict[str, str]:
    """One verdict an utterance, "unsure" where reviewers differ; raises UserError naming the line."""
    found: dict[str, str] = {}
    for utterance_id, by_reviewer in verdicts.read_verdicts(file).items():
        one = verdicts.agreed(by_reviewer.values())
        found[utterance_id] = one.verdict if one else "unsure"
    return found


def show(points: Sequence[Point], used: float, what: str, console: Console) -> None:
    """Print the curve where it changes, the knee, and the threshold of the run in words."""
    best = knee(points)
    at_run = min(points, key=lambda point: abs(point.threshold - used))
    table = Table(title=f"{what} by threshold of pWER", title_justify="left", box=None)
    for column in ("pWER <", "kept", "minutes", what, "95 % interval", "judged", ""):
        table.add_column(column, justify="right" if column else "left")
    before: Point | None = None
    for point in points:
        marks = [mark for mark, other in (("this run", at_run), ("knee", best)) if point is other]
        if marks or before is None or point.utterances != before.utterances:
            error = point.error
            known = not math.isnan(error.value)
            has_interval = not math.isnan(error.low)
            table.add_row(
                f"{point.threshold:.0%}",
                str(point.utterances),
                f"{point.seconds / 60:.2f}",
                f"{error.value:.1%}" if known else "–",
                f"{error.low:.1%} to {error.high:.1%}" if has_interval else "",
                str(error.count),
                ", ".join(marks),
            )
        before = point
    console.print(table)
    error = at_run.error
    if not math.isnan(error.value):
        interval = f" [{error.low:.1%}, {error.high:.1%}]" if not math.isnan(error.low) else ""
        console.print(
            f"At pWER < {at_run.threshold:.0%}: {what} {error.value:.1%}{interval}, "
            f"{at_run.seconds / 3600:.3f} h kept.",
            soft_wrap=True,
        )
    if best is not None:
        console.print(
            f"The knee is at pWER < {best.threshold:.0%}: {best.seconds / 3600:.3f} h kept, "
            f"{what} {best.error.value:.1%}.",
            soft_wrap=True,
        )


def run(
    out: str, truth: Path | None, verdicts: Path | None, json_file: Path | None, console: Console
) -> None:
    """`gpa calibrate OUT`, with truth or with verdicts; raises UserError without either."""
    if (truth is None) == (verdicts is None):
        raise UserError("gpa calibrate needs either a verdicts.jsonl or --truth DIR.")
    decisions = read_decisions(out)
    utterances: Iterable[Decision] = decisions
    if truth is not None:
        truths = read_truth(truth)
        output = read_output(out, {PurePosixPath(name).name for name in truths})
        matched = match(output, truths)
        utterances = [utterance for item in matched for utterance in item.utterances]
        judged = from_texts(judge_texts(matched, output.asrs))
        what = "label WER"
    else:
        judged = from_verdicts(read_verdicts(verdicts or Path()), decisions, decisions.consensus)
        if not judged:
            raise UserError("None of the verdicts is about an utterance of this run.")
        what = "wrong labels"
    thresholds = [each for each in THRESHOLDS if each <= decisions.run.exact_to]
    points = curve(utterances, judged, decisions.consensus, thresholds)
    show(points, decisions.consensus.max_pwer, what, console)
    if json_file is not None:
        # A share of wrong labels is no WER.
        cells = expected_wer(utterances, judged, decisions.consensus) if truth is not None else []
        content = as_json(points, what, decisions.consensus.max_pwer, cells)
        json_file.write_text(content, encoding="utf-8")


def as_json(points: Sequence[Point], what: str, used: float, cells: Sequence[Cell] = ()) -> str:
    """The curve for machines, and the cells that `package.calibration` reads."""
    best = knee(points)
    content = {
        "error": what,
        "max_pwer": used,
        "knee": best.threshold if best else None,
        "points": [
            {
                "threshold": point.threshold,
                "utterances": point.utterances,
                "seconds": round(point.seconds, 3),
                **point.error.as_json(),
            }
            for point in points
        ],
        "expected_wer": [cell.model_dump() for cell in cells],
    }
    return json.dumps(content, indent=1)
