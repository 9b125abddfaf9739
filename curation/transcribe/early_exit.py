"""Early exit: no ASR is asked about an utterance whose disagreement is proven without it.

Where those that have heard an utterance lie so far apart that its pWER can't fall below
`early_exit.pwer`, the ASRs still to come are skipped, voters and verifier alike. The skip loses
nothing: whatever they would do (vote, hallucinate, raise, hear silence, never come), consensus
says `disagreement`, at this threshold and at every lower one.

- `agreement.pwer_lower_bound` holds for every panel of up to `largest_panel` voters, whichever of
  the others get a vote.
- Only hypotheses that consensus believes count, and there must be `min_voters` of them already:
  otherwise the reason could turn out to be `too_few_voters` or `hallucination`.
- The bound is above zero, so not all of them are silent: `non_speech` is ruled out too.

What a skip rests on is all in `EarlyExit`, which is part of the fingerprint of the ASR that is
spared. Votes of ASRs behind it are no part of it: to add one as the last runs that one alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field

from gpa.curation.consensus.agreement import pwer_lower_bound
from gpa.curation.consensus.hallucination import HallucinationConfig, find_hallucination
from gpa.curation.consensus.stage import ConsensusConfig
from gpa.curation.hypotheses import Heard, Skipped
from gpa.curation.models.protocols import Hypothesis
from gpa.curation.text.units import UNITS_VERSION, primary_language, units
from gpa.runtime.config import Config

# What rounding may add to a bound.
MARGIN = 1e-9


class EarlyExitConfig(Config):
    """When the ASRs that are left are skipped, and how far a panel may grow before they run again."""

    # At least `consensus.max_pwer`: a threshold that is raised up to here still runs no ASR.
    pwer: float = Field(gt=0, le=1)
    # The most voters that any panel has, now or later; more of them are harder to prove.
    largest_panel: int = Field(ge=2)


class EarlyExit(Config):
    """The rule for one ASR: `earlier` names the voters that run before it, by panel."""

    pwer: float
    largest_panel: int
    min_voters: int
    hallucination: HallucinationConfig
    earlier: dict[str, tuple[str, ...]]
    units_version: int = UNITS_VERSION

    def proof(
        self,
        hypotheses: Mapping[str, Heard],
        language: str,
        duration_s: float,
    ) -> Skipped | None:
        """What stands for this ASR's hypothesis of an utterance, None where it must be asked.

        `hypotheses` are those of the earlier ASRs, by name; `duration_s` is the utterance's.
        """
        language = primary_language(language)
        believed = []
        for asr in self.earlier.get(language, self.earlier.get("default", ())):
            hypothesis = hypotheses.get(asr)
            if isinstance(hypothesis, Hypothesis):
                heard = units(hypothesis.text, language)
                if find_hallucination(heard, duration_s, self.hallucination) is None:
                    believed.append(heard)
        if len(believed) < self.min_voters:
            return None
        bound = pwer_lower_bound(believed, self.largest_panel)
        return Skipped(bound) if bound >= self.pwer + MARGIN else None


def early_exits(
    config: EarlyExitConfig | None, order: Sequence[str], consensus: ConsensusConfig
) -> dict[str, EarlyExit]:
    """The rule of each ASR that can be spared; `order` is that in which they run."""
    if config is None:
        return {}
    rules = {}
    for place, asr in enumerate(order):
        earlier = {
            language: tuple(voter for voter in panel.voters if voter in order[:place])
            if asr in (*panel.voters, panel.verifier)
            else ()
            for language, panel in consensus.panels.items()
        }
        if not earlier.get("default"):
            earlier = {language: voters for language, voters in earlier.items() if voters}
        if max(map(len, earlier.values()), default=0) >= consensus.min_voters:
            rules[asr] = EarlyExit(
                **config.model_dump(),
                min_voters=consensus.min_voters,
                hallucination=consensus.hallucination,
                earlier=earlier,
            )
    return rules
