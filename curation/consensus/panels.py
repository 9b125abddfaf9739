"""Panels that could never keep anything: what a config must not say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gpa.curation.consensus.stage import ConsensusConfig
from gpa.curation.text.languages import DEFAULT


def impossible(
    config: ConsensusConfig, spoken: Mapping[str, frozenset[str] | None]
) -> Iterator[str]:
    """Panels by which nothing can ever be kept, a sentence each.

    `spoken` has the languages of every ASR, None for any. A `default` panel may be short of
    voters: it is how a pipeline writes down what it does not keep.
    """
    for language, panel in config.panels.items():
        where = f"consensus.panels.{language}"
        if language == DEFAULT:
            tongues = [spoken[voter] for voter in panel.voters]
            if not any(each is None or each - config.panels.keys() for each in tongues):
                yield f"{where}: its voters speak only languages that have panels of their own."
            continue

        def speaks(asr: str | None, language: str = language) -> bool:
            tongues = spoken[asr] if asr else frozenset()
            return tongues is None or language in tongues

        able = [voter for voter in panel.voters if speaks(voter)]
        replaced = panel.verifier_replaces_voter and speaks(panel.verifier)
        if len(able) + (config.given == "vote") + replaced < config.min_voters:
            yield (
                f"{where}: of its voters {', '.join(able) or 'none'} can hear {language!r}, and "
                f"consensus.min_voters is {config.min_voters}; name others, or take the panel out."
            )
        elif panel.verifier and not speaks(panel.verifier):
            yield f"{where}: its verifier {panel.verifier} does not speak {language!r}; name another."
