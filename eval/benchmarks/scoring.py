"""From answers to figures: what recognition wrote, and what was spoken, heard by a judge.

Recognition is counted in the units of its set (`recognition.py`). Synthesis and conversion are
scored as seed-tts-eval does (`seed_tts.py`): an ASR, the judge, writes down the audio that was
made, and its voice is compared with the one asked for. What was not answered is not left out: it
counts as all wrong, and as like nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import soundfile

from gpa.curation.audio import Waveform
from gpa.curation.intervals import Estimate, mean
from gpa.curation.models.protocols import ASR
from gpa.eval.benchmarks.datasets import TestSet
from gpa.eval.benchmarks.recognition import authors_error_rate, cut, error_rate, join_hyphens
from gpa.eval.benchmarks.seed_tts import Language, macro_wer
from gpa.runtime.errors import UserError
from gpa.tokenize.clips import SAMPLE_RATE
from gpa.train.judges import hear
from gpa.train.similarity import SpeakerEncoder, similarities

# Languages that are counted in characters, so that their error rate is called CER.
BY_CHARACTER = ("zh", "yue", "ja", "ko", "th")
RULES = {
    "librispeech": "words after Whisper's English normaliser, summed over the set",
    "aishell": "characters without marks and spaces, summed over the set",
    "agreement": "units of consensus (curation/text/units.py), summed over the set",
}


@dataclass(frozen=True)
class Figure:
    """One number of a test set: `metric` is WER, CER, SIM or NEARER, `estimate` a share, not percent.

    `method` says how it was counted and by whom; `weighted` marks the authors' own weighting,
    which stands beside ours and never for it; `reservations` say why it must not be set beside
    published figures.
    """

    metric: str
    estimate: Estimate
    method: str
    weighted: bool = False
    reservations: tuple[str, ...] = ()


def error_metric(language: str) -> str:
    """What an error rate is called in a language."""
    return "CER" if language in BY_CHARACTER else "WER"


def recognition_figures(test_set: TestSet, heard: Mapping[str, str]) -> list[Figure]:
    """Error rate of what was written, by key of the item; then in the authors' weighting."""
    texts = [(item.text, heard[item.key]) for item in test_set.items]
    metric = error_metric(test_set.language)

    def units(pair: tuple[str, str]) -> tuple[Sequence[str], Sequence[str]]:
        reference, hypothesis = (cut(text, test_set.units, test_set.language) for text in pair)
        return reference, hypothesis

    joined = [(join_hyphens(reference), join_hyphens(said)) for reference, said in texts]
    return [
        Figure(metric, error_rate(map(units, texts)), RULES[test_set.units]),
        Figure(
            metric,
            authors_error_rate(map(units, joined)),
            "the same units, each utterance weighted by its reference characters, hyphens joined",
            weighted=True,
        ),
    ]


def spoken_figures(
    test_set: TestSet, folder: Path, judge: ASR, encoder: SpeakerEncoder
) -> list[Figure]:
    """WER or CER by the judge, and similarity, of the audio `KEY.wav` in `folder`, by the items.

    Of conversion also the share that is more like the voice asked for than like the source.
    The language must be one of SPOKEN_LANGUAGES. Raises UserError where audio is missing.
    """
    language = cast(Language, test_set.language)
    pairs, alike, nearer = [], [], []
    for item in test_set.items:
        waveform = read_spoken(folder, item.key)
        pairs.append((item.text, hear(judge, waveform, language)))
        if item.voice is None:
            raise ValueError(f"{item.key} has no voice to compare with")
        alike += similarities(encoder, [(waveform, item.voice())])
        if item.audio is not None:
            (unlike,) = similarities(encoder, [(waveform, item.audio())])
            nearer.append(float(alike[-1] > unlike))
    figures = [
        Figure(
            error_metric(language),
            macro_wer(pairs, language),
            f"seed-tts-eval: mean over utterances, judged by {judge.facts().model}",
        ),
        Figure("SIM", mean(alike), f"cosine to the voice asked for, {encoder.name}"),
    ]
    if nearer:
        how = f"of utterances: a higher cosine to the voice asked for than to the source, {encoder.name}"
        figures.append(Figure("NEARER", mean(nearer), how))
    return figures


def write_spoken(folder: Path, key: str, waveform: Waveform) -> None:
    """Put audio where `spoken_figures` finds it: 16-bit WAV at 16 kHz."""
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / f"{key}.wav", waveform, SAMPLE_RATE, subtype="PCM_16")


def read_spoken(folder: Path, key: str) -> Waveform:
    """Audio that was made, (samples,) at 16 kHz; raises UserError where there is none."""
    path = folder / f"{key}.wav"
    try:
        waveform, sample_rate = soundfile.read(path, dtype="float32")
    except soundfile.LibsndfileError:
        raise UserError(
            f"{path} is missing or no audio: a set is scored whole, not without what went wrong."
        ) from None
    if sample_rate != SAMPLE_RATE or waveform.ndim != 1:
        raise UserError(f"{path} must be mono at {SAMPLE_RATE} Hz.")
    return waveform
