"""Forced alignment with pocketsphinx: English, on the CPU, its acoustic model in the wheel.

Words and the silences between them come in frames of 10 ms. Words that CMUdict lacks are
pronounced by the grapheme-to-phoneme model of the wheel `hama`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from typing import Literal

import numpy as np

from gpa.curation.audio import resample
from gpa.curation.models.align.spoken import spoken_words, timed_words
from gpa.curation.models.protocols import Model, Waveform, WordAlignment
from gpa.curation.models.weights import wheel_file, wheel_weights
from gpa.runtime.errors import fault
from gpa.runtime.models import Facts, ModelConfig

SAMPLE_RATE = 16000
FRAMES_PER_S = 100
SILENCE_PHONE = "SIL"

# (distribution, path in site-packages, licence) of all that decides where a word lies.
FILES = (
    *(
        ("pocketsphinx", f"pocketsphinx/model/en-us/{name}", "BSD-2-Clause")
        for name in (
            "cmudict-en-us.dict",
            "en-us/feat.params",
            "en-us/mdef",
            "en-us/means",
            "en-us/noisedict",
            "en-us/sendump",
            "en-us/transition_matrices",
            "en-us/variances",
        )
    ),
    ("hama", "hama/assets/encoder.hama", "MIT"),
    ("hama", "hama/assets/decoder_step.hama", "MIT"),
)

# hama writes IPA, the acoustic model knows ARPAbet; longest symbols first where one begins another.
ARPABET = {
    "t͡ʃ": "CH", "d͡ʒ": "JH", "tʃ": "CH", "dʒ": "JH", "aɪ": "AY", "aʊ": "AW", "eɪ": "EY",
    "oʊ": "OW", "ɔɪ": "OY", "ɝ": "ER", "ɚ": "ER", "ɜ": "ER", "ɑ": "AA", "a": "AA", "ɒ": "AA",
    "æ": "AE", "ʌ": "AH", "ə": "AH", "ɐ": "AH", "ɔ": "AO", "ɛ": "EH", "e": "EH", "ɪ": "IH",
    "i": "IY", "y": "IY", "o": "OW", "ø": "OW", "ʊ": "UH", "u": "UW", "b": "B", "β": "B",
    "d": "D", "ɾ": "D", "ð": "DH", "f": "F", "ɸ": "F", "ɡ": "G", "g": "G", "ɣ": "G", "h": "HH",
    "x": "HH", "χ": "HH", "j": "Y", "k": "K", "q": "K", "c": "K", "l": "L", "ɫ": "L", "ʎ": "L",
    "m": "M", "n": "N", "ɲ": "N", "ŋ": "NG", "p": "P", "ɹ": "R", "r": "R", "ʁ": "R", "s": "S",
    "ɕ": "SH", "ʃ": "SH", "t": "T", "θ": "TH", "v": "V", "w": "W", "z": "Z", "ʒ": "ZH",
}  # fmt: skip
_SYMBOL = re.compile("|".join(ARPABET))


def arpabet(ipa: str) -> list[str]:
    """ARPAbet phones of an IPA transcription; symbols that English lacks are passed over."""
    return [ARPABET[symbol] for symbol in _SYMBOL.findall(ipa)]


class PocketsphinxConfig(ModelConfig):
    """The embedded aligner."""

    model: Literal["pocketsphinx"] = "pocketsphinx"
    # Mean log score of a phone a frame below which the text is taken not to be what was said:
    # right texts lie at -13 to -33, wrong ones at -56 to -75.
    min_score: float = -45.0


class PocketsphinxAligner(Model[PocketsphinxConfig]):
    """Aligner of English; `score` of an alignment is the mean phone score a frame."""

    def facts(self) -> Facts:
        weights = [
            wheel_weights(name, wheel_file(distribution, name), licence)
            for distribution, name, licence in FILES
        ]
        version = metadata.version("pocketsphinx")
        return Facts(
            model="pocketsphinx en-us",
            library=f"pocketsphinx {version}, hama {metadata.version('hama')}",
            licence="BSD-2-Clause",
            weights=tuple(weights),
            languages=frozenset({"en"}),
            memory_mb=200,
        )

    def load(self) -> None:
        import pocketsphinx
        from hama import G2PModel

        self._decoder = pocketsphinx.Decoder(
            lm=None,
            samprate=SAMPLE_RATE,
            loglevel="FATAL",
            # Wide beams: a forced path must survive noise and misread words.
            beam=1e-80,
            wbeam=1e-60,
            pbeam=1e-80,
            bestpath=False,
        )
        self._g2p = G2PModel()
        self._pronounce = cache(self._pronounce_once)

    def align(
        self,
        waveforms: Sequence[Waveform],
        sample_rate: int,
        words: Sequence[Sequence[str]],
        languages: Sequence[str],
    ) -> list[WordAlignment]:
        found = []
        for waveform, written, language in zip(waveforms, words, languages, strict=True):
            clip = resample(waveform, sample_rate, SAMPLE_RATE)
            try:
                found.append(self._align_one(clip, written, language))
            except Exception as error:  # one utterance's fault is its row's error
                found.append(WordAlignment(error=fault(error)))
        return found

    def _align_one(
        self, waveform: Waveform, written: Sequence[str], language: str
    ) -> WordAlignment:
        if language != "en":
            return WordAlignment(error=f"no aligner for {language}")
        if not written or not waveform.size:
            return WordAlignment(error="no words to align" if not written else "no audio")
        spoken = [spoken_words(word, language) for word in written]
        for word, parts in zip(written, spoken, strict=True):
            if not parts or not all(map(self._pronounce, parts)):
                return WordAlignment(error=f"no pronunciation for {word!r}")
        pcm = (np.clip(waveform, -1, 1) * 32767).astype("<i2").tobytes()
        self._decoder.set_align_text(" ".join(part for parts in spoken for part in parts))
        self._decode(pcm)
        if self._decoder.hyp() is None:
            return WordAlignment(error="the text does not fit into the audio")
        times = [
            (segment.start_frame / FRAMES_PER_S, (segment.end_frame + 1) / FRAMES_PER_S)
            for segment in self._decoder.seg()
            if not segment.word.startswith(("<", "[", "("))
        ]
        score = self._phone_score(pcm)
        if score < self.config.min_score:
            return WordAlignment(
                error=f"score {score:.1f} is below {self.config.min_score:g}: the audio says other words",
                score=score,
            )
        return WordAlignment(timed_words(written, spoken, times), score=score)

    def _decode(self, pcm: bytes) -> None:
        # Forget the noise estimate of the utterance before: the same clip gives the same times.
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        try:
            self._decoder.process_raw(pcm, full_utt=True)
        finally:
            self._decoder.end_utt()

    def _phone_score(self, pcm: bytes) -> float:
        """Mean log score of a frame of speech, from a second pass over the found words."""
        self._decoder.set_alignment()
        self._decode(pcm)
        phones = [
            phone
            for word in self._decoder.get_alignment()
            for phone in word
            if phone.name != SILENCE_PHONE
        ]
        return sum(phone.score for phone in phones) / sum(phone.duration for phone in phones)

    def _pronounce_once(self, word: str) -> bool:
        """Make sure that the decoder has a pronunciation for a spoken word; False if none is."""
        if self._decoder.lookup_word(word):
            return True
        phones = arpabet(self._g2p.predict(word).ipa)
        if not phones:
            return False
        self._decoder.add_word(word, " ".join(phones), False)
        return True
