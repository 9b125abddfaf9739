"""Pocketsphinx's binary English trigram model, rewritten as the ARPA text that KenLM reads.

Pocketsphinx can read its own file, but `NGramModel.write` gives wrong numbers and crashes. The
file is a trie of bit fields (pocketsphinx, `src/lm/lm_trie.c`), in this order:

    "Trie Language Model", order: u8, counts: u32[order], quantizer type: u32
    three tables of 65536 float32: bigram log probability, bigram back-off, trigram log probability
    unigrams: (log probability: f32, back-off: f32, first bigram: u32), one more than counted
    bigrams:  (earlier word, log probability index: 16, back-off index: 16, first trigram), bit packed
    trigrams: (earliest word, log probability index: 16), bit packed
    size: u32, words separated by zero bytes

The trie runs backwards: the children of a word are the words that stood before it. Logarithms
are to the base 1.0001.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAGIC = b"Trie Language Model"
QUANTIZED_16_BIT = 1
LOG10_OF_BASE = np.float32(math.log10(1.0001))
UNIGRAM = np.dtype([("log_prob", "<f4"), ("backoff", "<f4"), ("first", "<u4")])


@dataclass(frozen=True)
class Trigrams:
    """A trigram model as arrays, logarithms to the base 10.

    Word arrays hold indices into `words`. Bigram i is the pair (`bigram_words[i, 0]`,
    `bigram_words[i, 1]`) in the order in which they are spoken; trigrams likewise.
    """

    words: list[str]
    unigram_log10: NDArray[np.float32]
    unigram_backoff: NDArray[np.float32]
    bigram_words: NDArray[np.int64]  # (bigrams, 2)
    bigram_log10: NDArray[np.float32]
    bigram_backoff: NDArray[np.float32]
    trigram_words: NDArray[np.int64]  # (trigrams, 3)
    trigram_log10: NDArray[np.float32]


def read_trigrams(path: Path) -> Trigrams:
    """Decode the binary file; raises ValueError if it is of another kind."""
    data = np.fromfile(path, np.uint8)
    raw = data.tobytes()
    position = len(MAGIC) + 1
    if not raw.startswith(MAGIC) or raw[len(MAGIC)] != 3:
        raise ValueError(f"{path} is no binary trigram model of pocketsphinx")
    unigrams, bigrams, trigrams, quantizer = np.frombuffer(raw, "<u4", 4, position).tolist()
    if quantizer != QUANTIZED_16_BIT:
        raise ValueError(f"{path} is quantized in a way that is not supported")
    position += 16
    tables = np.frombuffer(raw, "<f4", 3 * 65536, position).reshape(3, 65536)
    position += tables.nbytes
    heads = np.frombuffer(raw, UNIGRAM, unigrams + 1, position)
    position += heads.nbytes

    word_bits, next_bits = unigrams.bit_length(), trigrams.bit_length()
    bigram_bits, trigram_bits = word_bits + 32 + next_bits, word_bits + 16
    bigram_start = position
    trigram_start = bigram_start + _packed_bytes(bigrams, bigram_bits)
    words_start = trigram_start + _packed_bytes(trigrams, trigram_bits)

    # The counts in the header include some n-grams that were never stored; the pointers do not.
    stored_bigrams = int(heads["first"][-1])
    first_trigram = _bit_fields(
        data, bigram_start, word_bits + 32, next_bits, bigram_bits, stored_bigrams + 1
    )
    stored_trigrams = int(first_trigram[-1])

    def bigram_field(offset: int, width: int) -> NDArray[np.int64]:
        return _bit_fields(data, bigram_start, offset, width, bigram_bits, stored_bigrams)

    def trigram_field(offset: int, width: int) -> NDArray[np.int64]:
        return _bit_fields(data, trigram_start, offset, width, trigram_bits, stored_trigrams)

    first_bigram = heads["first"].astype(np.int64)
    last_of_bigram = np.repeat(np.arange(unigrams), first_bigram[1:] - first_bigram[:-1])
    bigram_words = np.stack([bigram_field(0, word_bits), last_of_bigram], axis=1)
    bigram_of_trigram = np.repeat(np.arange(stored_bigrams), first_trigram[1:] - first_trigram[:-1])
    trigram_words = np.column_stack([trigram_field(0, word_bits), bigram_words[bigram_of_trigram]])
    word_bytes = int(np.frombuffer(raw, "<u4", 1, words_start)[0])
    text = raw[words_start + 4 : words_start + 4 + word_bytes].decode("utf-8")
    return Trigrams(
        words=text.split("\0")[:unigrams],
        unigram_log10=heads["log_prob"][:-1] * LOG10_OF_BASE,
        unigram_backoff=heads["backoff"][:-1] * LOG10_OF_BASE,
        bigram_words=bigram_words,
        bigram_log10=tables[0][bigram_field(word_bits + 16, 16)] * LOG10_OF_BASE,
        bigram_backoff=tables[1][bigram_field(word_bits, 16)] * LOG10_OF_BASE,
        trigram_words=trigram_words,
        trigram_log10=tables[2][trigram_field(word_bits, 16)] * LOG10_OF_BASE,
    )


def write_arpa(model: Trigrams, vocabulary: Container[str], path: Path) -> None:
    """Write the n-grams whose words are all in `vocabulary`, sentence marks always, as ARPA."""
    known = np.array([word in vocabulary or word in ("<s>", "</s>") for word in model.words])
    keep_bigrams = known[model.bigram_words].all(axis=1)
    keep_trigrams = known[model.trigram_words].all(axis=1)
    with path.open("w", encoding="utf-8") as file:
        file.write(f"\\data\\\nngram 1={known.sum() + 1}\nngram 2={keep_bigrams.sum()}\n")
        file.write(f"ngram 3={keep_trigrams.sum()}\n\n\\1-grams:\n-99\t<unk>\t0\n")
        lone_words = np.flatnonzero(known)[:, np.newaxis]
        backoff = model.unigram_backoff[known]
        file.writelines(_lines(model, lone_words, model.unigram_log10[known], backoff))
        file.write("\n\\2-grams:\n")
        grams, log10 = model.bigram_words[keep_bigrams], model.bigram_log10[keep_bigrams]
        file.writelines(_lines(model, grams, log10, model.bigram_backoff[keep_bigrams]))
        file.write("\n\\3-grams:\n")
        grams, log10 = model.trigram_words[keep_trigrams], model.trigram_log10[keep_trigrams]
        file.writelines(_lines(model, grams, log10))
        file.write("\n\\end\\\n")


def _lines(model: Trigrams, grams: NDArray, *numbers: NDArray[np.float32]) -> Iterator[str]:
    """A line an n-gram, a row of word indices: probability, words and, if there is one, back-off."""
    for row, log10, *backoff in zip(grams.tolist(), *(n.tolist() for n in numbers), strict=True):
        spelled = " ".join([model.words[index] for index in row])
        yield "\t".join([f"{log10:.4f}", spelled, *(f"{number:.4f}" for number in backoff)]) + "\n"


def _packed_bytes(count: int, bits: int) -> int:
    """Bytes that `count` fields and their end mark take, with the reader's eight spare ones."""
    return ((count + 1) * bits + 7) // 8 + 8


def _bit_fields(
    data: NDArray[np.uint8], start: int, offset: int, width: int, stride: int, count: int
) -> NDArray[np.int64]:
    """`count` little-endian fields of `width` bits, `stride` bits apart, from byte `start` on."""
    first_bit = np.arange(count, dtype=np.int64) * stride + offset
    byte = start + (first_bit >> 3)
    value = np.zeros(count, np.uint64)
    for index in range((width + 7 + 7) // 8):
        value |= data[byte + index].astype(np.uint64) << np.uint64(8 * index)
    return ((value >> (first_bit & 7).astype(np.uint64)) & np.uint64((1 << width) - 1)).astype(
        np.int64
    )
