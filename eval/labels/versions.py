"""What denoising does to the recognisers: the voters hear both versions of the same utterances.

A run transcribes one version alone. What its voters make of the other is heard here, on a sample
that the seed fixes, so that `gpa score` takes a bounded time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gpa.curation.consensus.agreement import capped, pwer, wer_matrix
from gpa.curation.intervals import Estimate, mean
from gpa.curation.models.protocols import Hypothesis
from gpa.curation.text.units import units
from gpa.curation.transcribe.stage import build_asr
from gpa.eval.labels.outputs import Output, Utterance
from gpa.eval.labels.reference import Reference
from gpa.eval.metrics import corpus_wer, errors

VERSIONS = ("normalized", "denoised")
SAMPLE = 30
SEED = 0

Texts = Mapping[str, Mapping[str, str]]  # by utterance and ASR


def version_figures(
    output: Output, utterances: Sequence[Utterance], references: Mapping[str, Reference]
) -> dict[str, Estimate]:
    """pWER of the voters, and their WER against the truth, of both versions.

    Empty where the run has one version or no panel of two. Raises UserError where a recogniser
    of the run can't be loaded here.
    """
    chosen = sample(output, utterances)
    figures: dict[str, Estimate] = {}
    if chosen:
        texts = {version: heard(output, chosen, version) for version in VERSIONS}
        for version in VERSIONS:
            figures[f"pWER, {version}"] = mean(
                agreement(texts[version][each.utterance_id], each.language) for each in chosen
            )
        for version in VERSIONS:
            figures[f"WER of the voters, {version}"] = corpus_wer(
                errors(said.units, units(text, said.language))
                for each in chosen
                if (said := references.get(each.utterance_id)) is not None
                for text in texts[version][each.utterance_id].values()
            )
    return figures


def sample(output: Output, utterances: Sequence[Utterance]) -> list[Utterance]:
    """Utterances that have both versions and that two voters heard, at most `SAMPLE`."""
    able = [
        each
        for each in utterances
        if each.normalized_mos and each.denoised_mos and len(voters(output, each)) > 1
    ]
    order = np.random.default_rng(SEED).permutation(len(able))
    return [able[index] for index in sorted(order[:SAMPLE])]


def voters(output: Output, utterance: Utterance) -> list[str]:
    """The voters of an utterance's language that heard it."""
    panel = output.consensus.panel(utterance.language)
    return [asr for asr in panel.voters if asr in utterance.hypotheses] if panel else []


def heard(output: Output, utterances: Sequence[Utterance], version: str) -> Texts:
    """What the voters hear in one version; what the run heard is in its tables."""
    if version == output.transcribe.hears:
        return {
            each.utterance_id: {asr: each.hypotheses[asr] for asr in voters(output, each)}
            for each in utterances
        }
    texts: dict[str, dict[str, str]] = {each.utterance_id: {} for each in utterances}
    for name in sorted({asr for each in utterances for asr in voters(output, each)}):
        asr = build_asr(output.transcribe.asr[name])
        asr.load()
        for each in utterances:
            if name in voters(output, each):
                waveform, sample_rate = output.clip(each, version)
                (found,) = asr.transcribe([waveform], sample_rate, [each.language])
                texts[each.utterance_id][name] = found.text if isinstance(found, Hypothesis) else ""
    return texts


def agreement(texts: Mapping[str, str], language: str) -> float:
    """pWER of at least two texts."""
    return pwer(capped(wer_matrix([units(text, language) for text in texts.values()]))) or 0.0
