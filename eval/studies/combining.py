"""Which way of combining hypotheses has the lower WER: the medoid, or ROVER.

Every text is the one that consensus writes, by the same code; the voters' own texts stand beside
it. Differences are between two texts of the same utterances, which are drawn together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from gpa.curation.consensus.rover import RoverConfig
from gpa.curation.consensus.stage import ConsensusConfig, ConsensusRow, PanelConfig, decide
from gpa.curation.intervals import Estimate, ratio
from gpa.eval.metrics import Errors, corpus_wer
from gpa.eval.studies.heard import Utterance

MEDOID = "medoid"
# How each way combines, beside the defaults of consensus.
WAYS: dict[str, tuple[Literal["medoid", "rover"], RoverConfig]] = {
    MEDOID: ("medoid", RoverConfig()),
    "ROVER, heads alone": ("rover", RoverConfig(alpha=1)),
    "ROVER, heads and confidences": ("rover", RoverConfig()),
    "ROVER, confidences alone": ("rover", RoverConfig(alpha=0)),
}


def combinations(utterances: Sequence[Utterance], panels: Sequence[tuple[str, ...]]) -> list[str]:
    """A table of Markdown: each panel's texts, over all utterances and over those that it keeps."""
    table = [
        "| panel | utterances | text | WER | minus the medoid's, points |",
        "|---|---|---|---|---|",
    ]
    for voters in panels:
        rows = {way: combined(utterances, voters, way) for way in WAYS}
        kept = [row.kept for row in rows[MEDOID]]
        texts = {voter: [each.heard[voter].text for each in utterances] for voter in voters}
        texts |= {way: [row.text or "" for row in rows[way]] for way in WAYS}
        counted = {
            name: [each.errors(text) for each, text in zip(utterances, of_name, strict=True)]
            for name, of_name in texts.items()
        }
        for chosen, what in (([True] * len(kept), "all"), (kept, "kept")):
            errors = {
                name: [each for each, is_in in zip(of_name, chosen, strict=True) if is_in]
                for name, of_name in counted.items()
            }
            table += _rows(f"| {' + '.join(voters)} | {what}, {sum(chosen)} |", errors)
    return table


def combined(
    utterances: Sequence[Utterance], voters: tuple[str, ...], way: str
) -> list[ConsensusRow]:
    """What consensus says of each utterance where `voters` are the panel."""
    combine, rover = WAYS[way]
    panel = PanelConfig(voters=voters)
    config = ConsensusConfig(panels={"default": panel}, combine=combine, rover=rover)
    return [
        decide(panel, each.heard, each.language, each.duration_s, config) for each in utterances
    ]


def difference(one: Sequence[Errors], other: Sequence[Errors]) -> Estimate:
    """WER of `one` minus that of `other`, both of the same utterances."""
    return ratio(
        [mine.edits - theirs.edits for mine, theirs in zip(one, other, strict=True)],
        [mine.reference_units for mine in one],
    )


def _rows(beginning: str, errors: Mapping[str, Sequence[Errors]]) -> list[str]:
    rows = []
    for name, counted in errors.items():
        wer, more = corpus_wer(counted), difference(counted, errors[MEDOID])
        cells = [
            f"{100 * wer.value:.2f} % ({100 * wer.low:.1f}-{100 * wer.high:.1f})",
            f"{100 * more.value:+.2f} ({100 * more.low:+.2f} to {100 * more.high:+.2f})",
        ]
        rows.append(f"{beginning} {name} | {cells[0]} | {cells[1] if name != MEDOID else ''} |")
    return rows
