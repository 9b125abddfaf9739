"""Consensus: N recognisers' hypotheses in, one text or a reason for none.

In the order in which an utterance can fall:

1. its language is not known well enough: `language_uncertain`;
2. hypotheses that are absent (no row, or the model raised) or hallucinated are struck, with the
   reason in the row; with fewer than `min_voters` left: `hallucination` if the struck
   hallucinations would have been enough, `too_few_voters` otherwise. By `max_outlier_distance` the
   voter that lies farthest from all others is struck, too. N in pWER is what is left;
3. all that are left are silent: `non_speech`;
4. pWER (`agreement.py`) is not strictly below `max_pwer`: `disagreement`. Where early exit spared
   an ASR the utterance, pWER is the least that it could have become, which proves the same;
5. the panel names a verifier, and it heard nothing usable or another text: `unverified`.

Before all of these comes what breaks a limit of its audio's quality (`limits.py`), where there are
limits: no threshold of pWER lets it in.

What survives gets the text of the medoid or of ROVER, as written, and a confidence. A verifier is
a recogniser too weak to vote, whose errors are of another kind: it is asked only how far its
text lies from the chosen one, in WER with the chosen text as the reference.

A manifest's `text` is a hypothesis of its own (`given.py`). It is compared with the voters always
(`given_pwer`), and votes or verifies where the config says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from gpa.curation.consensus.agreement import (
    Dispute,
    Matrix,
    Units,
    capped,
    disputes,
    label_confidence,
    leave_one_out,
    outlier,
    pwer,
    pwer_lower_bound,
    wer,
    wer_matrix,
    without,
)
from gpa.curation.consensus.config import ConsensusConfig, PanelConfig
from gpa.curation.consensus.given import GIVEN, given_pwer, one_utterance
from gpa.curation.consensus.hallucination import HallucinationConfig, find_hallucination
from gpa.curation.consensus.medoid import medoid
from gpa.curation.consensus.rover import elect
from gpa.curation.hypotheses import Heard, Skipped, read_hypotheses
from gpa.curation.models.protocols import Hypothesis
from gpa.curation.tables import CONSENSUS, TEXT, known
from gpa.curation.text.units import primary_language, units
from gpa.runtime.errors import UserError
from gpa.runtime.stage import Artifact, Attempts, Reject, Stage, rows

# Of an utterance whose language nobody knows (ISO 639-2).
UNDETERMINED = "und"
# Why a hypothesis has no vote, besides the reasons of `hallucination.py`: there is none, early exit
# spared the ASR the utterance, or it lies too far from all others.
ABSENT, SKIPPED, OUTLIER = "absent", "skipped", "outlier"
# What reports say of the rule that leaves a voter out where config does not (docs/panel.md), and how
# many must be left: of three, the two that agree may be wrong together.
OUTLIER_DISTANCE, LEAST_LEFT = 0.3, 3


@dataclass(frozen=True)
class Struck:
    """A hypothesis of the panel that has no vote.

    "absent", "skipped" by early exit (`value` is the least pWER that was proven), "outlier" (its
    mean distance from the other voters), or a reason of `hallucination.py`.
    """

    asr: str
    reason: str
    value: float | None = None


@dataclass(frozen=True)
class ConsensusRow:
    """What consensus says of one utterance; the fields of the CONSENSUS table without the key.

    `text`, `chosen_asr` and `confidence` are there whenever anyone had a vote, kept or not, so
    that another threshold can be tried on the table alone. `value` is the number that rejected.
    """

    language: str
    kept: bool
    reason: str | None = None
    value: float | None = None
    detail: str | None = None
    voters: tuple[str, ...] = ()
    struck: tuple[Struck, ...] = ()
    wer_matrix: tuple[tuple[float, ...], ...] = ()
    pwer: float | None = None
    early_exit: bool = False  # ASRs were skipped: `pwer` is a lower bound
    # Plain pWER where a voter is left out; pWER without it where another config would leave it out.
    pwer_other_rule: float | None = None
    pwer_uncapped: float | None = None
    pwer_without: tuple[float, ...] = ()
    verifier: str | None = None
    verifier_distance: float | None = None
    given_pwer: float | None = None
    chosen_asr: str | None = None
    text: str | None = None
    confidence: float | None = None
    disputed: tuple[Dispute, ...] = ()


def decide(
    panel: PanelConfig,
    hypotheses: Mapping[str, Heard],
    language: str,
    duration_s: float,
    config: ConsensusConfig,
) -> ConsensusRow:
    """Steps 2 to 5 for one utterance, given what each ASR returned for it, by name.

    ASRs that are missing or raised are absent; ASRs outside the panel are ignored. Raises
    ValueError where an ASR was skipped without proof of what is decided here.
    """
    heard, struck = _strike(panel, hypotheses, language, duration_s, config.hallucination)
    voters = [asr for asr in panel.voters if asr in heard]
    voted = [heard[asr] for asr in voters]
    in_units = [units(hypothesis.text, language) for hypothesis in voted]
    matrix = wer_matrix(in_units)
    other_rule = None
    limit = config.max_outlier_distance
    far = outlier(in_units, matrix, OUTLIER_DISTANCE if limit is None else limit)
    if far and len(voters) > max(config.min_voters, LEAST_LEFT):
        rest = without(matrix, far.place)
        other_rule = pwer(capped(rest))
        if limit is not None:
            other_rule, matrix = pwer(capped(matrix)), rest
            struck = (*struck, Struck(voters[far.place], OUTLIER, far.distance))
            for of in (voters, voted, in_units):
                del of[far.place]
    matrix_capped = capped(matrix)
    skipped = [each.asr for each in struck if each.reason == SKIPPED]
    unheard = sum(asr in panel.voters for asr in skipped)
    row = ConsensusRow(
        language=language,
        kept=False,
        voters=tuple(voters),
        struck=struck,
        wer_matrix=tuple(map(tuple, matrix)),
        pwer=pwer_lower_bound(in_units, len(voters) + unheard) if unheard else pwer(matrix_capped),
        early_exit=bool(skipped),
        pwer_other_rule=None if unheard else other_rule,
        pwer_uncapped=None if unheard else pwer(matrix),
        pwer_without=(math.nan,) * len(voters) if unheard else tuple(leave_one_out(matrix_capped)),
        verifier=panel.verifier,
        disputed=disputes(dict(zip(voters, in_units, strict=True))),
    )
    if voted:
        row = _with_text(row, heard, matrix_capped, in_units, config)
    verdict = _verdict(row, panel, config, silent=not any(in_units))
    if skipped and verdict.reason != "disagreement":
        raise ValueError(f"{', '.join(skipped)} skipped, though disagreement is not proven")
    return replace(row, kept=verdict.reason is None, **vars(verdict))


def _strike(
    panel: PanelConfig,
    hypotheses: Mapping[str, Heard],
    language: str,
    duration_s: float,
    config: HallucinationConfig,
) -> tuple[dict[str, Hypothesis], tuple[Struck, ...]]:
    """Step 2: what may be used of voters and verifier, by name, and what may not."""
    heard: dict[str, Hypothesis] = {}
    struck: list[Struck] = []
    for asr in (*panel.voters, *([panel.verifier] if panel.verifier else [])):
        hypothesis = hypotheses.get(asr)
        if isinstance(hypothesis, Skipped):
            struck.append(Struck(asr, SKIPPED, hypothesis.pwer_at_least))
        elif not isinstance(hypothesis, Hypothesis):
            struck.append(Struck(asr, ABSENT))
        elif found := find_hallucination(units(hypothesis.text, language), duration_s, config):
            struck.append(Struck(asr, found.reason, found.value))
        else:
            heard[asr] = hypothesis
    return heard, tuple(struck)


def _with_text(
    row: ConsensusRow,
    heard: Mapping[str, Hypothesis],
    matrix_capped: Matrix,
    in_units: Sequence[Units],
    config: ConsensusConfig,
) -> ConsensusRow:
    """The row with the text of its voters, and how far it lies from them and from the verifier.

    `in_units` are the voters' hypotheses as they are compared, `matrix_capped` the WER
    between them.
    """
    voted = [heard[asr] for asr in row.voters]
    trust = _trust(voted)
    best = medoid(matrix_capped, trust)
    text = voted[best].text
    if config.combine == "rover" and len(voted) > 1:
        text = elect(voted, best, trust, row.language, config.rover) or text
    chosen = units(text, row.language)
    verifier = heard.get(row.verifier or "")
    distance = wer(chosen, units(verifier.text, row.language)) if verifier else None
    disagreement = [min(1.0, wer(chosen, each)) for each in in_units]
    return replace(
        row,
        chosen_asr=row.voters[best],
        text=text,
        verifier_distance=distance,
        confidence=label_confidence(disagreement, [each.confidence for each in voted], distance),
    )


@dataclass(frozen=True)
class _Verdict:
    """Why an utterance falls, the number that decided and what people should know; or nothing."""

    reason: str | None = None
    value: float | None = None
    detail: str | None = None


def _verdict(
    row: ConsensusRow, panel: PanelConfig, config: ConsensusConfig, silent: bool
) -> _Verdict:
    """Steps 2 to 5 over what was heard; `silent` where all that could vote heard nothing."""
    unusable = {each.asr for each in row.struck}
    needed = config.min_voters
    if panel.verifier_replaces_voter and panel.verifier not in unusable:
        needed -= 1
    if len(row.voters) < needed:
        detail = ", ".join(f"{each.asr}: {each.reason}" for each in row.struck) or None
        invented = [
            each for each in row.struck if each.asr in panel.voters and each.reason != ABSENT
        ]
        if len(row.voters) + len(invented) >= needed:
            return _Verdict("hallucination", invented[0].value, detail)
        return _Verdict("too_few_voters", float(len(row.voters)), detail)
    if silent:
        return _Verdict("non_speech")
    if row.pwer is not None and row.pwer >= config.max_pwer:
        skipped = [each.asr for each in row.struck if each.reason == SKIPPED]
        detail = f"pWER is at least this: {', '.join(skipped)} skipped" if skipped else None
        return _Verdict("disagreement", row.pwer, detail)
    distance = row.verifier_distance
    if panel.verifier and (distance is None or distance > panel.max_verifier_distance):
        return _Verdict("unverified", distance)
    return _Verdict()


def _trust(voted: Sequence[Hypothesis]) -> list[float]:
    """Confidences that weigh voters; one that gives none weighs as the mean of the others."""
    given = [each.confidence for each in voted if each.confidence is not None]
    neutral = sum(given) / len(given) if given else 1.0
    return [neutral if each.confidence is None else each.confidence for each in voted]


class ConsensusStage(Stage):
    """recordings, utterances, hypotheses/<asr> of all panels -> consensus: one row an utterance.

    And quality, where the config has limits of it.
    """

    step = "consensus"
    version = 7
    layers = TEXT
    tables_only = True
    config: ConsensusConfig

    def __init__(self, name: str, config: ConsensusConfig, inputs: Sequence[str] = ()):
        super().__init__(name, config, inputs)
        known = [each.removeprefix("hypotheses/") for each in inputs]
        for asr in config.asrs():
            if asr not in known:
                raise UserError(
                    f"{name} names the ASR {asr!r}, which no transcribe step makes: add it there, "
                    f"or take it out of the panels."
                )

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        by_asr = {
            asr: read_hypotheses(inputs[f"hypotheses/{asr}"].table) for asr in self.config.asrs()
        }
        utterances = inputs["utterances"].table.select(
            ["utterance_id", "recording_id", "start_s", "end_s", "duration_s"]
        )
        told = {row["recording_id"]: row for row in known(inputs["recordings"].table, self.layers)}
        whole = one_utterance(inputs["utterances"])
        limits = self.config.quality
        broken = limits.broken(inputs["quality"].table) if limits.active else {}
        out: list[dict] = []
        rejects: list[Reject] = []
        for utterance in rows(utterances):
            key = utterance["utterance_id"]
            heard = {asr: said[key] for asr, said in by_asr.items() if key in said}
            about = told[utterance["recording_id"]]
            if about["text"] is not None and utterance["recording_id"] in whole:
                heard[GIVEN] = Hypothesis(about["text"])
            if utterance["recording_id"] in attempts.quarantined:
                row = ConsensusRow(UNDETERMINED, kept=False, reason="quarantined")
            else:
                with attempts.on([utterance["recording_id"]]):
                    row = self._decide(utterance, about["language"], heard)
                if key in broken:
                    reason, value = broken[key]
                    row = replace(row, kept=False, reason=reason, value=value, detail=None)
            out.append({"utterance_id": key, **columns(row)})
            if row.reason is not None:
                rejects.append(
                    Reject(
                        recording_id=utterance["recording_id"],
                        reason=row.reason,
                        seconds=utterance["duration_s"],
                        utterance_id=key,
                        start_s=utterance["start_s"],
                        end_s=utterance["end_s"],
                        value=row.value,
                        detail=row.detail,
                    )
                )
        audio_s = sum(utterances.column("duration_s").to_pylist())
        return Artifact(pa.Table.from_pylist(out, CONSENSUS), rejects=rejects, audio_s=audio_s)

    def _decide(
        self, utterance: Mapping, language: str | None, heard: Mapping[str, Heard]
    ) -> ConsensusRow:
        """Step 1, then `decide` with the panel of the language; None: no manifest gave one."""
        if language is None:
            identified = heard.get(self.config.identifier or "")
            language, probability = None, 0.0
            if isinstance(identified, Hypothesis):
                language, probability = identified.language, identified.language_probability or 0.0
            if language is None or probability < self.config.min_language_probability:
                return ConsensusRow(
                    primary_language(language or UNDETERMINED),
                    kept=False,
                    reason="language_uncertain",
                    value=probability,
                )
        language = primary_language(language)
        panel = self.config.panel(language)
        if panel is None:
            return ConsensusRow(
                language,
                kept=False,
                reason="too_few_voters",
                value=0.0,
                detail=f"no panel for language {language}",
            )
        if GIVEN in heard:
            panel = panel.with_given(self.config.given)
        row = decide(panel, heard, language, utterance["duration_s"], self.config)
        return replace(row, given_pwer=given_pwer(heard, row.voters, language))


def columns(row: ConsensusRow) -> dict:
    """The row's fields that the table has, structs as dictionaries."""
    values = {name: getattr(row, name) for name in CONSENSUS.names if name != "utterance_id"}
    return values | {name: [vars(each) for each in values[name]] for name in ("struck", "disputed")}
