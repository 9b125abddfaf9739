"""What GLM tokens know of what was said: phonemes, read off them by a linear probe.

`python -m gpa.eval.studies.phonemes --learn CURATED --test CURATED ... --glm small random` trains
softmax regression from a token and its two neighbours to the phoneme that hama's recogniser hears
most in its 80 ms, and says how often it is right on other clips, beside always naming their most
frequent one. English alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gpa.curation.curated import read_curated
from gpa.curation.models.asr.ctc_lexicon import (
    BLANK_COLUMN,
    PHONES,
    PhonemeRecogniser,
    phone_posteriors,
)
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.weights import TokenizerConfig, checkpoint_folders

# Frames of the recogniser in a token; a token with less posterior than this has no phoneme.
FRAMES = 4
HEARD = 0.1
STEPS = 100
LEARNING_RATE = 0.05
PENALTY = 1.0


@dataclass(frozen=True)
class Heard:
    """Of each token: itself between its neighbours (tokens, 3), and its phoneme (tokens,) or -1."""

    tokens: Tensor
    phonemes: Tensor


def phonemes(log_posteriors: np.ndarray, tokens: int) -> Tensor:
    """The likeliest phoneme of each token, -1 where none is heard, from those of the frames."""
    posteriors = np.exp(log_posteriors[: FRAMES * tokens, :BLANK_COLUMN])
    missing = FRAMES * tokens - len(posteriors)
    by_token = np.pad(posteriors, ((0, missing), (0, 0))).reshape(tokens, FRAMES, -1).sum(axis=1)
    return torch.from_numpy(np.where(by_token.sum(1) < HEARD, -1, by_token.argmax(1)))


def between_neighbours(tokens: Tensor, codes: int) -> Tensor:
    """Tokens (n,) to (n, 3): of the one before, itself and the one after, in 3 (codes + 1) columns."""
    padded = F.pad(tokens, (1, 1), value=codes)
    return padded.unfold(0, 3, 1) + torch.arange(3) * (codes + 1)


def hear(
    curated: str, tokenizers: Sequence[GLMTokenizer], recogniser: PhonemeRecogniser
) -> list[Heard]:
    """Tokens of each tokenizer and phonemes of all English utterances."""
    columns: list[list[Tensor]] = [[] for _ in tokenizers]
    labels = []
    for utterance in read_curated(curated):
        if utterance.metadata["language"] != "en":
            continue
        clip = tokenizers[0].prepare(0, *utterance.decode())
        for glm, found in zip(tokenizers, columns, strict=True):
            (tokens,) = glm.encode_prepared([clip])
            codes = glm.config.quantize_vocab_size
            found.append(between_neighbours(torch.from_numpy(tokens), codes))
        log_posteriors = phone_posteriors(recogniser.log_probabilities(clip), recogniser.tokens)
        labels.append(phonemes(log_posteriors, len(tokens)))
    return [Heard(torch.cat(found), torch.cat(labels)) for found in columns]


def learn(heard: Heard, codes: int) -> nn.EmbeddingBag:
    """Softmax regression over one-hot tokens, which is a sum of rows, its weights penalized."""
    probe = nn.EmbeddingBag(3 * (codes + 1), len(PHONES) + 1, mode="sum")
    nn.init.zeros_(probe.weight)
    optimizer = torch.optim.Adam(probe.parameters(), LEARNING_RATE)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(probe(heard.tokens), heard.phonemes, ignore_index=-1)
        penalty = PENALTY * probe.weight.square().sum() / len(heard.phonemes)
        (loss + penalty).backward()
        optimizer.step()
    return probe


@torch.no_grad()
def right(probe: nn.EmbeddingBag, heard: Heard) -> float:
    """The share of tokens with a phoneme that the probe is right about."""
    said = heard.phonemes >= 0
    return (probe(heard.tokens).argmax(dim=1) == heard.phonemes)[said].float().mean().item()


def study(learnt: str, tested: Sequence[str], names: Sequence[str]) -> None:
    """Print a row for each tokenizer and each set."""
    recogniser = PhonemeRecogniser()
    tokenizers = [
        GLMTokenizer.load(checkpoint_folders(TokenizerConfig(glm=name))[1]) for name in names
    ]
    probes = [
        learn(heard, glm.config.quantize_vocab_size)
        for heard, glm in zip(hear(learnt, tokenizers, recogniser), tokenizers, strict=True)
    ]
    for curated in tested:
        tests = hear(curated, tokenizers, recogniser)
        said = tests[0].phonemes[tests[0].phonemes >= 0]
        most_frequent = (said == said.mode().values).float().mean().item()
        print(f"{curated}: {len(said)} tokens, the most frequent phoneme {most_frequent:.1%}")
        for name, probe, heard in zip(names, probes, tests, strict=True):
            print(f"  {name}: {right(probe, heard):.1%} right")


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learn", required=True, help="curated speech to train the probe on")
    parser.add_argument("--test", nargs="+", required=True, help="curated speech of other clips")
    parser.add_argument("--glm", nargs="+", default=["small", "random"], help="names or folders")
    given = parser.parse_args()
    study(given.learn, given.test, given.glm)


if __name__ == "__main__":
    main()
