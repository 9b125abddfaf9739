"""What is left of speech that went through a codec's tokens: words, quality, voice, speed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpa.curation.audio import Waveform
from gpa.curation.curated import CuratedUtterance
from gpa.curation.intervals import Estimate, mean
from gpa.curation.models.protocols import ASR, QualityScorer
from gpa.curation.text.units import units
from gpa.eval.benchmarks.datasets import other_voices
from gpa.eval.benchmarks.recognition import english_words, error_rate
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.clips import SAMPLE_RATE, ClipError
from gpa.train.judges import hear
from gpa.train.similarity import LEAST_VOICE_S, SpeakerEncoder, similarities


@dataclass(frozen=True)
class Resynthesis:
    """Figures of a curated set: WER against its texts, and mean predicted opinion (1-5), of its
    audio as it is and as the codec gives it back; cosine of that to the voice of the original;
    seconds of audio a second of encoding and of decoding, on one core. Converted is each utterance
    that is said with the global tokens of another speaker's, drawn at random: its WER, and the
    share that is nearer to the other's voice than to its own; None of one speaker alone."""

    utterances: int
    left_out: int
    seconds: float
    wer_original: Estimate
    wer_codec: Estimate
    mos_original: float
    mos_codec: float
    voice_codec: Estimate
    wer_converted: Estimate | None
    nearer_converted: Estimate | None
    encoding_speed: float
    decoding_speed: float

    def lines(self) -> list[str]:
        lines = [
            f"{self.utterances} utterances, {self.seconds / 60:.1f} min; {self.left_out} left out "
            f"(unreadable, or under {LEAST_VOICE_S} s)",
            f"WER of the original  {_percent(self.wer_original)}",
            f"WER of the codec     {_percent(self.wer_codec)}",
            f"DNSMOS               {self.mos_original:.2f} original, {self.mos_codec:.2f} codec",
            f"Voice of the codec   {self.voice_codec.value:.2f} (cosine to the original)",
            f"Speed                encoding {self.encoding_speed:.0f}, decoding "
            f"{self.decoding_speed:.0f} times real time",
        ]
        if self.nearer_converted and self.wer_converted:
            lines += [
                f"In another's voice   {_percent(self.nearer_converted)} nearer to it",
                f"WER of these         {_percent(self.wer_converted)}",
            ]
        return lines


def measure(
    utterances: Sequence[CuratedUtterance],
    codec: BiCodec,
    judge: ASR,
    scorer: QualityScorer,
    encoder: SpeakerEncoder,
) -> Resynthesis:
    """Each usable utterance of LEAST_VOICE_S and more through the codec and back, heard by the
    judge; texts are its labels."""
    texts: list[tuple[str, str]] = []
    speakers: list[str] = []
    originals: list[Waveform] = []
    for number, utterance in enumerate(utterances):
        try:
            clip = codec.prepare(number, *utterance.decode())
        except (ClipError, ValueError):
            continue
        if len(clip) >= LEAST_VOICE_S * SAMPLE_RATE:
            originals.append(clip)
            texts.append((utterance.metadata["text"], utterance.metadata["language"]))
            speakers.append(utterance.metadata["speaker"])
    started = time.process_time()
    tokens = [codec.encode_prepared([clip])[0] for clip in originals]
    encoded = time.process_time()
    spoken = [codec.decode(each.semantic_tokens, each.global_tokens) for each in tokens]
    decoded = time.process_time()
    others = other_voices(speakers, seed=0)
    converted = [
        codec.decode(each.semantic_tokens, tokens[other].global_tokens)
        for each, other in zip(tokens, others, strict=False)
    ]
    seconds = sum(map(len, originals)) / SAMPLE_RATE

    def wer(waveforms: Sequence[Waveform]) -> Estimate:
        heard = [
            (_units(text, language), _units(hear(judge, waveform, language), language))
            for (text, language), waveform in zip(texts, waveforms, strict=True)
        ]
        return error_rate(heard)

    def mos(waveforms: Sequence[Waveform]) -> float:
        return float(np.mean([each.overall for each in scorer.score(waveforms, SAMPLE_RATE)]))

    def alike(waveforms: Sequence[Waveform], voices: Sequence[Waveform]) -> list[float]:
        return similarities(encoder, list(zip(waveforms, voices, strict=True)))

    asked_for = alike(converted, [originals[other] for other in others])
    own = alike(converted, originals[: len(converted)])
    return Resynthesis(
        len(originals), len(utterances) - len(originals), seconds,
        wer(originals), wer(spoken), mos(originals), mos(spoken),
        mean(alike(spoken, originals)),
        wer(converted) if converted else None,
        mean(map(float, np.greater(asked_for, own))) if converted else None,
        seconds / (encoded - started), seconds / (decoded - encoded),
    )  # fmt: skip


def _units(text: str, language: str) -> Sequence[str]:
    return english_words(text) if language == "en" else units(text, language)


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:6.1%} ({estimate.low:.1%} to {estimate.high:.1%})"
