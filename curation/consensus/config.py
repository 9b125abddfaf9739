"""Who decides, what is kept, and whether a panel ever can keep anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field, model_validator

from gpa.curation.consensus.given import GIVEN
from gpa.curation.consensus.hallucination import HallucinationConfig
from gpa.curation.consensus.limits import QualityLimits
from gpa.curation.consensus.rover import RoverConfig
from gpa.curation.text.languages import DEFAULT, ByLanguage
from gpa.runtime.config import Config


class PanelConfig(Config):
    """Who decides on utterances of one language; ASRs by their names in `pipelines.yaml`."""

    # In order of trust: ties go to the first.
    voters: tuple[str, ...] = Field(min_length=1)
    verifier: str | None = None
    # Text whose distance from the verifier's is above this is not kept; 0.4 is two words in five.
    max_verifier_distance: float = Field(0.4, ge=0)
    # Whether the verifier makes up for one voter below `min_voters` (there is no pWER then).
    verifier_replaces_voter: bool = False

    @model_validator(mode="after")
    def _no_asr_twice(self) -> PanelConfig:
        names = [*self.voters, *([self.verifier] if self.verifier else [])]
        if len(set(names)) < len(names):
            raise ValueError("an ASR stands twice in a panel, and one can't agree with itself")
        if self.verifier_replaces_voter and self.verifier is None:
            raise ValueError("verifier_replaces_voter needs a verifier")
        return self

    def with_given(self, role: str) -> PanelConfig:
        """The panel for an utterance of which a manifest gives the text."""
        match role:
            case "vote":
                return self.model_copy(update={"voters": (*self.voters, GIVEN)})
            case "verify":
                return self.model_copy(update={"verifier": GIVEN})
        return self


class ConsensusConfig(Config):
    """Who votes, and what is kept."""

    # By language code; "default" is for all languages that have no panel of their own.
    panels: ByLanguage[PanelConfig] = Field(min_length=1)
    # The ASR that says what language an utterance is in where the manifest does not.
    identifier: str | None = None
    min_language_probability: float = Field(0.5, ge=0, le=1)
    min_voters: int = Field(2, ge=2)
    # Section 3.1: kept strictly below.
    max_pwer: float = Field(0.15, ge=0, le=1)
    # What a manifest's `text` does: "vote" as one ASR more, "verify" in the place of the panel's
    # verifier, or be compared.
    given: Literal["report", "vote", "verify"] = "report"
    # None is the paper's rule, by which one bad voter may reject what all others agree on. With a
    # limit (0.3: docs/panel.md) the farthest voter has no vote where its mean distance is above it
    # and three others or more are left. For panels of voters that share no cause of error.
    max_outlier_distance: float | None = Field(None, ge=0, lt=1)
    combine: Literal["medoid", "rover"] = "medoid"
    rover: RoverConfig = RoverConfig()
    hallucination: HallucinationConfig = HallucinationConfig()
    quality: QualityLimits = QualityLimits()

    def panel(self, language: str) -> PanelConfig | None:
        """The panel of a language, None where none is named for it."""
        return self.panels.get(language, self.panels.get("default"))

    def asrs(self) -> tuple[str, ...]:
        """Names of all ASRs that the config mentions, each once."""
        names = [self.identifier] if self.identifier else []
        for panel in self.panels.values():
            names += [*panel.voters, *([panel.verifier] if panel.verifier else [])]
        return tuple(dict.fromkeys(names))


def impossible(
    panels: Mapping[str, PanelConfig],
    min_voters: int,
    spoken: Mapping[str, frozenset[str] | None],
) -> Iterator[str]:
    """Panels by which nothing can ever be kept, a sentence each.

    `spoken` has the languages of every ASR, None for any. A `default` panel may be short of
    voters: it is how a pipeline writes down what it does not keep.
    """
    for language, panel in panels.items():
        where = f"consensus.panels.{language}"
        if language == DEFAULT:
            tongues = [spoken[voter] for voter in panel.voters]
            if not any(each is None or each - panels.keys() for each in tongues):
                yield f"{where}: its voters speak only languages that have panels of their own."
            continue

        def speaks(asr: str | None, language: str = language) -> bool:
            tongues = spoken[asr] if asr else frozenset()
            return tongues is None or language in tongues

        able = [voter for voter in panel.voters if speaks(voter)]
        replaced = panel.verifier_replaces_voter and speaks(panel.verifier)
        if len(able) + replaced < min_voters:
            yield (
                f"{where}: of its voters {', '.join(able) or 'none'} can hear {language!r}, and "
                f"consensus.min_voters is {min_voters}; name others, or take the panel out."
            )
        elif panel.verifier and not speaks(panel.verifier):
            yield f"{where}: its verifier {panel.verifier} does not speak {language!r}; name another."
