"""A small English recogniser that shares nothing with Whisper: phonemes, a lexicon, a trigram.

Parts: hama's CTC phoneme recogniser, pocketsphinx's CMUdict and trigram model, and
flashlight-text's beam search over the lexicon. Its errors are its own, which is what a panel
needs; how often it errs, and what it is good for, stands in docs/panel.md.

The recogniser learnt its phonemes from hama's own letter-to-phoneme model, which reads "has" as
"hɑz" and "me" as "me", and it writes them so. The most frequent words therefore have that model's
pronunciation in the lexicon, not the dictionary's: it takes a quarter off the word error rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from gpa.curation.models.asr.hearing import ASRConfig, Recogniser
from gpa.curation.models.asr.ngrams import Trigrams, read_trigrams, write_arpa
from gpa.curation.models.protocols import Hypothesis, Waveform, Word
from gpa.curation.models.weights import library, wheel_file, wheel_weights
from gpa.runtime.cache import build_once
from gpa.runtime.chatter import without_native_chatter
from gpa.runtime.config import digest
from gpa.runtime.models import Facts, Weights

# ARPAbet (CMUdict without stress marks) and the IPA tokens of the recogniser that stand for each
# phone. The recogniser splits hairs that the dictionary does not (ʌ and ə, ɹ and r): the
# probabilities of a phone's tokens are added.
IPA_OF_PHONE: dict[str, tuple[str, ...]] = {
    "AA": ("ɑ", "ɒ", "a"), "AE": ("æ",), "AH": ("ʌ", "ə", "ɐ"), "AO": ("ɔ",), "AW": ("aʊ",),
    "AY": ("aɪ",), "B": ("b",), "CH": ("t͡ʃ",), "D": ("d",), "DH": ("ð",), "EH": ("ɛ",),
    "ER": ("ɝ", "ɚ", "ɜ"), "EY": ("eɪ", "e"), "F": ("f",), "G": ("g", "ɡ"), "HH": ("h",),
    "IH": ("ɪ", "ɨ"), "IY": ("i",), "JH": ("d͡ʒ",), "K": ("k",), "L": ("l", "ɫ"), "M": ("m",),
    "N": ("n",), "NG": ("ŋ",), "OW": ("oʊ", "o"), "OY": ("ɔɪ",), "P": ("p",), "R": ("ɹ", "r"),
    "S": ("s",), "SH": ("ʃ",), "T": ("t", "ɾ"), "TH": ("θ",), "UH": ("ʊ",), "UW": ("u",),
    "V": ("v",), "W": ("w",), "Y": ("j",), "Z": ("z",), "ZH": ("ʒ",),
}  # fmt: skip
PHONES = tuple(IPA_OF_PHONE)
BOUNDARY_COLUMN = len(PHONES)
BLANK_COLUMN = len(PHONES) + 1
PHONE_OF_IPA = {token: phone for phone, tokens in IPA_OF_PHONE.items() for token in tokens}

FRAME_S = 0.02  # the network halves the rate of a 160-sample spectrogram
BLANK = "<blank>"
WORD_BOUNDARY = "<wb>"
# Shorter clips give the network no frame to work on.
SHORTEST_SAMPLES = 800

# More spellings than this with one pronunciation are dropped by flashlight's trie, in an order
# of its own; we drop the rarest ourselves.
SPELLINGS_PER_PRONUNCIATION = 6

Pronunciation = tuple[str, ...]


class CTCLexiconConfig(ASRConfig):
    """Weights of the beam search, tuned on half of the speech that docs/panel.md reports on."""

    model: Literal["ctc-lexicon"] = "ctc-lexicon"
    beam_size: int = Field(default=100, gt=0)
    # Of a frame so many phones are followed, and no path that is this far behind: a third of the
    # time of following all, and the same text (docs/panel.md).
    phones_a_frame: int = Field(default=12, gt=0)
    beam_threshold: float = Field(default=25.0, gt=0)
    lm_weight: float = Field(default=2.0, ge=0)  # per log10 of the trigram's probability
    word_score: float = -1.0  # added for each word
    vocabulary: int = Field(default=40000, gt=0)  # most frequent words
    # So many of the most frequent are pronounced as hama's letter-to-phoneme model reads them;
    # more help little, and a thousand take about half a minute at first use.
    learnt_words: int = Field(default=1000, ge=0)


class CTCLexicon(Recogniser[CTCLexiconConfig]):
    """The ASR protocol over phonemes, lexicon and trigram.

    A word's confidence is the geometric mean of its phones' posteriors on the best path, a text's
    the mean of its words'.
    """

    _words: Sequence[str] = ()
    _decoder: Any = None

    def facts(self) -> Facts:
        return Facts(
            model="ctc-lexicon",
            library=_library("hama", "flashlight-text", "pocketsphinx"),
            licence="MIT, BSD-2-Clause (CMUdict and trigrams)",
            weights=(_phoneme_weights(), _part("en-us.lm.bin"), _part("cmudict-en-us.dict")),
            languages=frozenset({"en"}),
            memory_mb=700,
        )

    def load(self) -> None:
        """Load the network, and the lexicon and trigram from the cache (made at first use)."""
        self.model = PhonemeRecogniser()
        folder = language_model(self.config.vocabulary, self.config.learnt_words)
        self._words = (folder / "words.txt").read_text(encoding="utf-8").split("\n")
        lines = (folder / "lexicon.txt").read_text(encoding="utf-8").splitlines()
        lexicon = [(word, tuple(phones)) for word, *phones in map(str.split, lines)]
        self._decoder = _decoder(self.config, self._words, lexicon, folder / "lm.arpa")

    def transcribe(
        self, waveforms: Sequence[Waveform], sample_rate: int, languages: Sequence[str | None]
    ) -> list[Hypothesis | Exception]:
        """One hypothesis a waveform, lower case without marks, whatever its language is."""
        return super().transcribe(waveforms, sample_rate, ["en"] * len(languages))

    def _hear(self, clips: list[Waveform], _: str | None) -> list[Hypothesis]:
        return [self._transcribe_one(clip) for clip in clips]

    def _transcribe_one(self, waveform: Waveform) -> Hypothesis:
        emissions = phone_posteriors(self.model.log_probabilities(waveform), self.model.tokens)
        if not len(emissions):
            return Hypothesis("", language="en")
        best = self._decoder.decode(emissions.ctypes.data, *emissions.shape)[0]
        # The decoder's path has one entry more than frames at either end.
        words = timed_words(best.tokens[1:-1], best.words[1:-1], emissions, self._words)
        return Hypothesis(
            text=" ".join(word.word for word in words),
            words=words,
            confidence=float(np.mean([word.confidence for word in words])) if words else None,
            language="en",
        )


class PhonemeRecogniser:
    """hama's network with its vocabulary; `tokens[i]` is column i of the posteriors over IPA."""

    def __init__(self) -> None:
        import hama

        self._model: Any = hama.ASRModel()
        self.tokens: list[str] = self._model.decoder_tokens

    def log_probabilities(self, waveform: Waveform) -> NDArray[np.float32]:
        """Log posteriors (frames, tokens) of a 16 kHz waveform."""
        if len(waveform) < SHORTEST_SAMPLES:
            return np.zeros((0, len(self.tokens)), np.float32)
        log_probabilities, lengths = self._model.session.run(
            ["log_probs", "out_lengths"],
            {"waveform": waveform[np.newaxis], "waveform_lengths": np.array([len(waveform)])},
        )
        return log_probabilities[0, : int(lengths[0])]


def phone_posteriors(
    log_probabilities: NDArray[np.float32], tokens: Sequence[str]
) -> NDArray[np.float32]:
    """Log posteriors (frames, phones + word boundary + blank) from those over IPA tokens."""
    column = {token: index for index, token in enumerate(tokens)}
    merged = [
        np.logaddexp.reduce(log_probabilities[:, [column[token] for token in tokens_of_phone]], 1)
        for tokens_of_phone in IPA_OF_PHONE.values()
    ]
    merged += [log_probabilities[:, column[WORD_BOUNDARY]], log_probabilities[:, column[BLANK]]]
    return np.ascontiguousarray(np.stack(merged, axis=1), dtype=np.float32)


def timed_words(
    path: Sequence[int],
    word_ends: Sequence[int],
    emissions: NDArray[np.float32],
    words: Sequence[str],
) -> tuple[Word, ...]:
    """Words with times and confidences from the best path.

    `path` has a column of `emissions` for each frame; `word_ends` has the index of the word
    that is complete at that frame, else -1. A word lasts from its first phone to its last.
    """
    timed: list[Word] = []
    phone_frames: list[int] = []
    for frame, (token, word) in enumerate(zip(path, word_ends, strict=True)):
        if token < BOUNDARY_COLUMN:
            phone_frames.append(frame)
        if word >= 0:
            if phone_frames:
                posterior = np.exp(np.mean([emissions[at, path[at]] for at in phone_frames]))
                timed.append(
                    Word(
                        words[word],
                        round(phone_frames[0] * FRAME_S, 3),
                        round((phone_frames[-1] + 1) * FRAME_S, 3),
                        min(1.0, float(posterior)),
                    )
                )
            phone_frames = []
    return tuple(timed)


def language_model(vocabulary: int, learnt_words: int) -> Path:
    """Cached folder with `words.txt`, `lexicon.txt` and `lm.arpa` of the most frequent words."""
    model, dictionary = _part("en-us.lm.bin"), _part("cmudict-en-us.dict")

    def build(folder: Path) -> None:
        trigrams = read_trigrams(Path(model.path))
        lines = Path(dictionary.path).read_text(encoding="utf-8").splitlines()
        frequent = frequent_words(trigrams, vocabulary)
        lexicon = cmudict(lines)
        most_frequent = [word for word in frequent if word in lexicon][:learnt_words]
        lexicon |= as_the_recogniser_learnt(most_frequent)
        lexicon = prune_homophones(lexicon, frequent)
        words = sorted(lexicon)
        write_arpa(trigrams, frozenset(words), folder / "lm.arpa")
        (folder / "words.txt").write_text("\n".join(words), encoding="utf-8")
        (folder / "lexicon.txt").write_text(
            "".join(f"{word} {' '.join(phones)}\n" for word in words for phones in lexicon[word]),
            encoding="utf-8",
        )

    made_of = [model.sha256, dictionary.sha256, _library("hama"), vocabulary, learnt_words]
    return build_once(f"ctc-en-{digest(made_of)}", build)


def frequent_words(trigrams: Trigrams, count: int) -> dict[str, float]:
    """The `count` most frequent words and their log10 unigram probabilities, frequent first."""
    order = np.argsort(-trigrams.unigram_log10, kind="stable")[:count]
    return {trigrams.words[index]: float(trigrams.unigram_log10[index]) for index in order}


def cmudict(lines: Iterable[str]) -> dict[str, list[Pronunciation]]:
    """Pronunciations by word from lines such as `read(2) R IY D`."""
    lexicon: dict[str, list[Pronunciation]] = {}
    for line in lines:
        word, *phones = line.split()
        lexicon.setdefault(word.split("(")[0], []).append(tuple(phones))
    return lexicon


def as_the_recogniser_learnt(words: Sequence[str]) -> dict[str, list[Pronunciation]]:
    """Pronunciations by hama's letter-to-phoneme model, where its phonemes are all English."""
    import hama

    letters_to_phonemes = hama.G2PModel()
    lexicon: dict[str, list[Pronunciation]] = {}
    for word in words:
        ipa = [each.phoneme for each in letters_to_phonemes.predict(word).alignments]
        phones = tuple(PHONE_OF_IPA[token] for token in ipa if token in PHONE_OF_IPA)
        if phones and len(phones) == len(ipa):
            lexicon[word] = [phones]
    return lexicon


def prune_homophones(
    lexicon: Mapping[str, Sequence[Pronunciation]], log10_of_word: Mapping[str, float]
) -> dict[str, list[Pronunciation]]:
    """Words of both, each pronunciation kept by its most frequent spellings only."""
    spellings: dict[Pronunciation, list[str]] = {}
    for word in sorted(lexicon.keys() & log10_of_word.keys(), key=lambda w: (-log10_of_word[w], w)):
        for phones in dict.fromkeys(lexicon[word]):
            spellings.setdefault(phones, []).append(word)
    kept: dict[str, list[Pronunciation]] = {}
    for phones, words in spellings.items():
        for word in words[:SPELLINGS_PER_PRONUNCIATION]:
            kept.setdefault(word, []).append(phones)
    return kept


def _library(*distributions: str) -> str:
    return library(*distributions, remedy="run `make setup`")


def _phoneme_weights() -> Weights:
    path = wheel_file("hama", "hama/assets/asr_waveform.hama")
    return wheel_weights("hama asr_waveform", path, "MIT")


def _part(name: str) -> Weights:
    path = wheel_file("pocketsphinx", f"pocketsphinx/model/en-us/{name}")
    return wheel_weights(f"pocketsphinx {name}", path, "BSD-2-Clause")


def _decoder(
    config: CTCLexiconConfig,
    words: Sequence[str],
    lexicon: Iterable[tuple[str, Pronunciation]],
    arpa: Path,
) -> Any:
    """flashlight's lexicon decoder over the phones."""
    from flashlight.lib.text.decoder import (
        CriterionType,
        LexiconDecoder,
        LexiconDecoderOptions,
        SmearingMode,
        Trie,
    )
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary

    dictionary = Dictionary([*words, "<unk>"])
    unknown = dictionary.get_index("<unk>")
    with without_native_chatter():  # a progress bar
        lm = KenLM(str(arpa), dictionary)
    start = lm.start(False)
    score_of_word = [lm.score(start, index)[1] for index in range(len(words))]
    column = {phone: index for index, phone in enumerate(PHONES)}
    trie = Trie(len(PHONES) + 2, BOUNDARY_COLUMN)
    for word, phones in lexicon:
        index = dictionary.get_index(word)
        trie.insert([column[phone] for phone in phones], index, score_of_word[index])
    trie.smear(SmearingMode.MAX)
    options = LexiconDecoderOptions(
        beam_size=config.beam_size,
        beam_size_token=config.phones_a_frame,
        beam_threshold=config.beam_threshold,
        lm_weight=config.lm_weight,
        word_score=config.word_score,
        unk_score=float("-inf"),
        sil_score=0.0,
        log_add=False,
        criterion_type=CriterionType.CTC,
    )
    return LexiconDecoder(options, trie, lm, BOUNDARY_COLUMN, BLANK_COLUMN, unknown, [], False)
