"""Punctuate: forced alignment gives the pauses, the pauses decide the clause marks.

The rule is in `pauses.py`, its grammar in `clauses.py`. Nothing is dropped here: where a text
could not be aligned it stays as it was, and its row says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby, pairwise
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from gpa.curation import audio
from gpa.curation.models.align.mfa import MFAAligner, MFAConfig
from gpa.curation.models.align.pocketsphinx import PocketsphinxAligner, PocketsphinxConfig
from gpa.curation.models.protocols import Aligner, Waveform, Word, WordAlignment
from gpa.curation.punctuate.pauses import FluentMarks, punctuate, split_words
from gpa.curation.tables import ALIGNMENT
from gpa.runtime.config import Config
from gpa.runtime.models import Adapter
from gpa.runtime.stage import Artifact, Attempts, Stage, rows


class PunctuateConfig(Config):
    """Which aligner listens to what, and where its pauses change a text."""

    aligner: Annotated[PocketsphinxConfig | MFAConfig, Field(discriminator="model")] = (
        PocketsphinxConfig()
    )
    hears: Literal["normalized", "denoised"] = "normalized"
    # A comma goes in at this pause and above, between clauses.
    comma_pause_ms: float = Field(default=300.0, gt=0)
    # Below this pause speech is fluent.
    fluent_pause_ms: float = Field(default=50.0, ge=0)
    # Clause marks that go out of a fluent span: those where no clause can end, or all of them as
    # in the paper, which costs a tenth of F1 (docs/punctuation.md).
    fluent_marks: FluentMarks = "misplaced"


class PunctuateStage(Stage):
    """utterances, consensus, hypotheses -> alignment: one row an utterance that was kept."""

    step: ClassVar[str] = "punctuate"
    config: PunctuateConfig

    def __init__(self, name: str, config: PunctuateConfig, inputs: Sequence[str] = ()):
        super().__init__(name, config, inputs)
        self._aligner: Aligner = (
            MFAAligner(config.aligner)
            if isinstance(config.aligner, MFAConfig)
            else PocketsphinxAligner(config.aligner)
        )

    def adapters(self) -> Mapping[str, Adapter]:
        return {self.config.aligner.model: self._aligner}

    def process(
        self, partition: str, inputs: Mapping[str, Artifact], attempts: Attempts
    ) -> Artifact:
        """Align and punctuate the partition at once, or recording by recording after a crash."""
        utterances = inputs["utterances"]
        texts = {row["utterance_id"]: row for row in rows(inputs["consensus"].table) if row["kept"]}
        columns = ["utterance_id", "recording_id", "duration_s", "sample_rate"]
        kept = [
            {**row, **texts[row["utterance_id"]]}
            for row in rows(utterances.table.select(columns))
            if row["utterance_id"] in texts
        ]
        heard_words = _heard_words(inputs)
        table = []
        for batch in _batches(kept, attempts.careful):
            recordings = sorted({row["recording_id"] for row in batch})
            sound = [row for row in batch if row["recording_id"] not in attempts.quarantined]
            with attempts.on([name for name in recordings if name not in attempts.quarantined]):
                aligned = self._align(sound, utterances.files)
            for row in batch:
                alignment = aligned.get(
                    row["utterance_id"],
                    WordAlignment(error="quarantined: its recording killed two workers"),
                )
                asr_words = heard_words.get((row["chosen_asr"], row["utterance_id"]), [])
                table.append(alignment_row(row, alignment, asr_words, self.config))
        return Artifact(
            table=pa.Table.from_pylist(table, schema=ALIGNMENT),
            audio_s=sum(row["duration_s"] for row in kept),
        )

    def _align(
        self, utterances: Sequence[dict], files: Mapping[str, bytes]
    ) -> dict[str, WordAlignment]:
        """Alignments by utterance, one call of the aligner for each sample rate."""
        found: dict[str, WordAlignment] = {}
        for sample_rate in sorted({row["sample_rate"] for row in utterances}):
            group = [row for row in utterances if row["sample_rate"] == sample_rate]
            names = [f"{row['utterance_id']}.{self.config.hears}.flac" for row in group]
            alignments = self._aligner.align(
                _Clips(files, names),
                sample_rate,
                [split_words(row["text"]).words for row in group],
                [row["language"] for row in group],
            )
            keys = [row["utterance_id"] for row in group]
            found |= dict(zip(keys, alignments, strict=True))
        return found


def alignment_row(
    utterance: Mapping, alignment: WordAlignment, asr_words: list[dict], config: PunctuateConfig
) -> dict:
    """A row of ALIGNMENT: the text after the pause rule, or as it was with the reason.

    Without an alignment `words` are those of the chosen ASR, where it gave times, and `aligner`
    names that ASR: such times are too coarse to tell a pause, but good enough to find a word.
    """
    text = utterance["text"]
    row = {
        "utterance_id": utterance["utterance_id"],
        "text_before": text,
        "text": text,
        "aligner": utterance["chosen_asr"] if asr_words else "",
        "error": alignment.error,
        "words": asr_words,
        "edits": [],
    }
    if alignment.error is not None:
        return row
    after, edits = punctuate(
        split_words(text),
        pauses_ms(alignment.words),
        utterance["language"],
        config.comma_pause_ms,
        config.fluent_pause_ms,
        config.fluent_marks,
    )
    return row | {
        "text": str(after),
        "aligner": config.aligner.model,
        "words": [asdict(word) for word in alignment.words],
        "edits": [asdict(edit) for edit in edits],
    }


def pauses_ms(words: Sequence[Word]) -> list[float]:
    """Silence between each word and the next in milliseconds, never below 0."""
    # Rounded, so that 0.3 s in binary fractions is not a little less than 300 ms.
    return [
        max(0.0, round((after.start_s - before.end_s) * 1000, 3))
        for before, after in pairwise(words)
    ]


class _Clips(Sequence[Waveform]):
    """Waveforms that are decoded when they are asked for: a partition may hold an hour."""

    def __init__(self, files: Mapping[str, bytes], names: Sequence[str]):
        self._files, self._names = files, names

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index):
        return audio.decode_flac(self._files[self._names[index]])[0]


def _batches(kept: list[dict], careful: bool) -> list[list[dict]]:
    """All at once, since an aligner may take long to start; by recording after a crash."""
    if not careful:
        return [kept] if kept else []
    return [list(group) for _, group in groupby(kept, key=lambda row: row["recording_id"])]


def _heard_words(inputs: Mapping[str, Artifact]) -> dict[tuple[str, str], list[dict]]:
    """Words with times of every ASR, by (ASR, utterance)."""
    return {
        (row["asr"], row["utterance_id"]): row["words"]
        for name, artifact in inputs.items()
        if name.startswith("hypotheses/")
        for row in rows(artifact.table.select(["asr", "utterance_id", "words"]))
    }
