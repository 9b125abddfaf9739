"""What answers are paid for: what is measured of them, and how much each measure weighs.

| measure | of | |
|---|---|---|
| error_rate | asr | edits over the transcript's units of consensus: WER, or CER without spaces |
| error_rate | tts, vc | CER of what the judge hears in the decoded speech |
| similarity | tts, vc | cosine of the speaker's embedding to that of the reference, as the codec says it |
| length | tts, vc | distance to the length of the true answer, as a share of it |

Whatever fails while an answer is measured raises: a reward of 0 for it would teach something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from gpa.curation.text.units import units
from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.sequences import Task
from gpa.tokenize.shards import Provenance, TokenShards
from gpa.tokenize.vocabulary import Vocabulary
from gpa.tokenize.weights import TokenizerConfig, load_tokenizers, tokenizer_facts
from gpa.train.judges import Judges, JudgesConfig, hear
from gpa.train.mixture import Draw
from gpa.train.similarity import similarities

Spoken = Literal["error_rate", "similarity", "length"]
Values = dict[str, NDArray[np.float64]]


class RewardsConfig(JudgesConfig):
    """The weight of each measure in the reward of a task, and who measures.

    The judges are other ones than those of `eval` can be: what is trained for is no test.
    """

    asr: dict[Literal["error_rate"], float] = {"error_rate": -1.0}
    tts: dict[Spoken, float] = {"error_rate": -1.0, "similarity": 1.0, "length": -0.1}
    vc: dict[Spoken, float] = {"error_rate": -1.0, "similarity": 1.0, "length": -0.1}
    # The codec that made the tokens, to hear them.
    codec: TokenizerConfig = TokenizerConfig()

    def weights(self, task: Task) -> Mapping[str, float]:
        """The weights of the measures of a task."""
        return {name: weight for name, weight in getattr(self, task).items() if weight}


@dataclass(frozen=True)
class Ears:
    """What it takes to hear speech tokens: the codec, and the judges."""

    codec: BiCodec
    judges: Judges

    @classmethod
    def load(cls, config: RewardsConfig, made: Provenance, languages: Sequence[str]) -> Ears:
        """Load them; raises UserError for another codec than the tokens', or a missing judge."""
        if tokenizer_facts(config.codec)["bicodec"].identity != made.bicodec:
            raise UserError(
                "train.reinforce.rewards.codec is not the codec that made these tokens, and would "
                "hear something else in them; name the one they were made with."
            )
        judges = Judges.load(config, languages, "train.reinforce.rewards")
        return cls(load_tokenizers(config.codec)[0], judges)


class Rewards:
    """Measures of answers, and the reward that they add up to, against the utterances asked for."""

    def __init__(
        self, config: RewardsConfig, shards: TokenShards, vocabulary: Vocabulary, ears: Ears | None
    ) -> None:
        self._config, self._shards, self._vocabulary, self._ears = config, shards, vocabulary, ears

    def __call__(
        self, task: Task, draws: Sequence[Draw], answers: Sequence[Sequence[int]]
    ) -> Values:
        """Each measure and their weighted sum, `reward`, of shape (answers,).

        `answers` are codes without their end, each to the draw at its place.
        """
        weights = self._config.weights(task)
        if task == "asr":
            measured = {"error_rate": self._written(draws, answers)}
        else:
            measured = self._spoken(weights, draws, answers)
        total = sum(weight * measured[name] for name, weight in weights.items())
        return measured | {"reward": np.broadcast_to(total, len(answers)).astype(float)}

    def _written(
        self, draws: Sequence[Draw], answers: Sequence[Sequence[int]]
    ) -> NDArray[np.float64]:
        rates = []
        for draw, answer in zip(draws, answers, strict=True):
            text, language = self._shards.text(draw.target)
            written = "".join(self._vocabulary.decode_pieces(answer))
            rates.append(error_rate(units(text, language), units(written, language)))
        return np.array(rates)

    def _spoken(
        self, weights: Mapping[str, float], draws: Sequence[Draw], answers: Sequence[Sequence[int]]
    ) -> Values:
        if self._ears is None:
            raise ValueError("speech is judged by ears, and there are none")
        codec, judges = self._ears.codec, self._ears.judges
        targets = [self._shards.tokens(draw.target) for draw in draws]
        voices = [self._shards.tokens(draw.reference) for draw in draws]
        speech = codec.decode_batch(answers, [voice.global_tokens for voice in voices])
        measured: Values = {}
        if "error_rate" in weights:
            rates = []
            for draw, waveform in zip(draws, speech, strict=True):
                text, language = self._shards.text(draw.target)
                heard = hear(judges.by_language[language], waveform, language)
                rates.append(error_rate(*("".join(units(t, language)) for t in (text, heard))))
            measured["error_rate"] = np.array(rates)
        if "similarity" in weights:
            codes = [voice.semantic_tokens for voice in voices]
            said = codec.decode_batch(codes, [voice.global_tokens for voice in voices])
            pairs = list(zip(speech, said, strict=True))
            measured["similarity"] = np.array(similarities(judges.encoder, pairs))
        if "length" in weights:
            lengths = [len(target.semantic_tokens) for target in targets]
            measured["length"] = np.array(
                [abs(len(a) - n) / n for a, n in zip(answers, lengths, strict=True)]
            )
        return measured


def error_rate(reference: Sequence[str], said: Sequence[str]) -> float:
    """Edits over the reference's units; of a reference without any, the units that were said."""
    return Levenshtein.distance(reference, said) / max(1, len(reference))


def advantages(rewards: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rewards (groups, answers) minus their group's mean; not divided by its spread.

    The division would weigh a group by how alike its answers are (arXiv:2503.20783).
    """
    return rewards - rewards.mean(axis=1, keepdims=True)


def summary(values: NDArray[np.float64]) -> dict[str, float]:
    """What is logged of a measure (groups, answers), by the end of its name.

    Its mean, its mean spread in a group (standard deviation), and the share of groups that have
    none.
    """
    spread = values.std(axis=1)
    return {
        "": float(values.mean()),
        "_spread": float(spread.mean()),
        "_left_out": float((np.ptp(values, axis=1) == 0).mean()),
    }
