"""What is left of speech that went through a codec's tokens: words, quality, speed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpa.curation.audio import Waveform
from gpa.curation.curated import CuratedUtterance
from gpa.curation.intervals import Estimate
from gpa.curation.models.protocols import ASR, QualityScorer
from gpa.curation.text.units import units
from gpa.eval.benchmarks.recognition import english_words, error_rate
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.clips import SAMPLE_RATE, ClipError
from gpa.train.judges import hear


@dataclass(frozen=True)
class Resynthesis:
    """Figures of a curated set: WER against its texts, and mean predicted opinion (1-5), of its
    audio as it is and as the codec gives it back; seconds of audio a second of encoding and of
    decoding, on one core."""

    utterances: int
    seconds: float
    wer_original: Estimate
    wer_codec: Estimate
    mos_original: float
    mos_codec: float
    encoding_speed: float
    decoding_speed: float

    def lines(self) -> list[str]:
        return [
            f"{self.utterances} utterances, {self.seconds / 60:.1f} min",
            f"WER of the original  {_percent(self.wer_original)}",
            f"WER of the codec     {_percent(self.wer_codec)}",
            f"DNSMOS               {self.mos_original:.2f} original, {self.mos_codec:.2f} codec",
            f"Speed                encoding {self.encoding_speed:.0f}, decoding "
            f"{self.decoding_speed:.0f} times real time",
        ]


def measure(
    utterances: Sequence[CuratedUtterance], codec: BiCodec, judge: ASR, scorer: QualityScorer
) -> Resynthesis:
    """Each usable utterance through the codec and back, heard by the judge; texts are its labels."""
    texts: list[tuple[str, str]] = []
    originals: list[Waveform] = []
    for number, utterance in enumerate(utterances):
        try:
            originals.append(codec.prepare(number, *utterance.decode()))
        except (ClipError, ValueError):
            continue
        texts.append((utterance.metadata["text"], utterance.metadata["language"]))
    started = time.process_time()
    tokens = [codec.encode_prepared([clip])[0] for clip in originals]
    encoded = time.process_time()
    spoken = [codec.decode(each.semantic_tokens, each.global_tokens) for each in tokens]
    decoded = time.process_time()
    seconds = sum(map(len, originals)) / SAMPLE_RATE

    def wer(waveforms: Sequence[Waveform]) -> Estimate:
        heard = [
            (_units(text, language), _units(hear(judge, waveform, language), language))
            for (text, language), waveform in zip(texts, waveforms, strict=True)
        ]
        return error_rate(heard)

    def mos(waveforms: Sequence[Waveform]) -> float:
        return float(np.mean([each.overall for each in scorer.score(waveforms, SAMPLE_RATE)]))

    return Resynthesis(
        len(originals), seconds,
        wer(originals), wer(spoken), mos(originals), mos(spoken),
        seconds / (encoded - started), seconds / (decoded - encoded),
    )  # fmt: skip


def _units(text: str, language: str) -> Sequence[str]:
    return english_words(text) if language == "en" else units(text, language)


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:6.1%} ({estimate.low:.1%} to {estimate.high:.1%})"
