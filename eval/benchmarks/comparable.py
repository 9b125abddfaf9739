"""What keeps a figure of ours from being set beside the published ones: said in the tables."""

from __future__ import annotations

from pathlib import PurePath

from gpa.eval.benchmarks.datasets import TestSet
from gpa.eval.benchmarks.scoring import Figure, error_metric
from gpa.eval.config import EvalConfig

# How the weights of the published judges are called, as a folder or on a hub.
PUBLISHED_JUDGES = {
    "en": ("large-v3", "whisper-large-v3", "faster-whisper-large-v3"),
    "zh": (
        "paraformer-zh",
        "speech_seaco_paraformer_large_asr_nat-zh-cn-16k-common-vocab8404-pytorch",
    ),
}


def reservations(
    figure: Figure, test_set: TestSet, config: EvalConfig, trained: bool
) -> tuple[str, ...]:
    """Reasons, in words; none where the figure is comparable with its column.

    `trained` says whether the tokenizers are.
    """
    reasons = []
    if not trained and test_set.task == "asr":
        reasons.append("untrained tokenizers: only what was learnt by heart is recognised")
    elif not trained:
        reasons.append("untrained tokenizers: the figure means nothing")
    if test_set.published_size is None:
        reasons.append("a set of your own, on which nothing is published")
    elif not test_set.whole:
        reasons.append("a part of the published set")
    if figure.metric == "SIM":
        reasons.append(
            "cosines of another encoder than the published WavLM-large with ECAPA-TDNN, on "
            "another scale"
        )
    elif (
        test_set.task != "asr"
        and figure.metric == error_metric(test_set.language)
        and not _published_judge(test_set.language, config)
    ):
        judge = {"en": "Whisper large-v3", "zh": "Paraformer"}[test_set.language]
        reasons.append(f"another judge than the published {judge}")
    if figure.weighted:
        reasons.append("another weighting than WER and CER have")
    return tuple(reasons)


def _published_judge(language: str, config: EvalConfig) -> bool:
    """Whether the judge of a language is the published one."""
    weights = getattr(config.judges[language], "weights", "")
    return PurePath(weights).name in PUBLISHED_JUDGES[language]
