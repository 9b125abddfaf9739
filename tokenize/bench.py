"""What tokenizing costs, as ratios measured in one run on one machine.

Batches against one utterance at a time, and what is done utterance by utterance in any batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from gpa.runtime.bench.figures import Measurement, least_cpu_s, one_torch_thread
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.bicodec.features import FeatureExtractor, standardize
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.glm.features import log_mel
from gpa.tokenize.weights import RANDOM, TokenizerConfig, load_bicodec, load_tokenizers

UTTERANCES = 40
CURATED_RATE = 24000
HOUR_S = 3600.0

Waveform = NDArray[np.float32]


def bench() -> Iterator[Measurement]:
    """All measurements, with small random tokenizers and the default batches, on one thread.

    A core is busy with one utterance already, so that a batch gains there only what calls cost
    and must not lose it to padding; the gain of a GPU is not seen here.
    """
    with one_torch_thread(), torch.inference_mode():
        lines = _measure()
    yield from lines


def made_up_speech(count: int) -> list[Waveform]:
    """Noise at 24 kHz; durations are log-normal, 1 to 25 s with a median of 6 s."""
    rng = np.random.default_rng(0)
    durations_s = np.clip(rng.lognormal(np.log(6), 0.6, count), 1, 25)
    return [
        (0.1 * rng.standard_normal(int(seconds * CURATED_RATE))).astype(np.float32)
        for seconds in durations_s
    ]


def _measure() -> list[Measurement]:
    bicodec, glm = load_tokenizers(TokenizerConfig(bicodec=RANDOM, glm=RANDOM))
    shipped = load_bicodec(TokenizerConfig())
    speech = made_up_speech(UTTERANCES)
    hours = sum(map(len, speech)) / CURATED_RATE / HOUR_S

    for_bicodec, for_glm = _prepare_all(bicodec, speech), _prepare_all(glm, speech)
    tokens = bicodec.encode_prepared(for_bicodec)
    semantic = [clip.semantic_tokens for clip in tokens]
    speakers = [clip.global_tokens for clip in tokens]
    standardized = [torch.from_numpy(standardize(clip)) for clip in for_bicodec]
    mels = glm.config.num_mel_bins
    wav2vec2 = cast(FeatureExtractor, bicodec.features)

    encode, encode_singly = least_cpu_s(
        lambda: bicodec.encode_prepared(for_bicodec),
        lambda: [bicodec.encode_prepared([clip]) for clip in for_bicodec],
    )
    decode, decode_singly = least_cpu_s(
        lambda: bicodec.decode_batch(semantic, speakers),
        lambda: [bicodec.decode(*pair) for pair in zip(semantic, speakers, strict=True)],
    )
    glm_encode, glm_singly = least_cpu_s(
        lambda: glm.encode_prepared(for_glm),
        lambda: [glm.encode_prepared([clip]) for clip in for_glm],
    )
    everything, speakers_alone = least_cpu_s(
        lambda: bicodec.encode(speech, CURATED_RATE),
        lambda: bicodec.encode_global(speech, CURATED_RATE),
    )
    resampling, convolutions, glm_resampling, log_mels = least_cpu_s(
        lambda: _prepare_all(bicodec, speech),
        lambda: [wav2vec2.frames(clip) for clip in standardized],
        lambda: _prepare_all(glm, speech),
        lambda: [log_mel(torch.from_numpy(clip), mels) for clip in for_glm],
    )

    shipped_encode, shipped_decode = least_cpu_s(
        lambda: shipped.encode(speech, CURATED_RATE),
        lambda: shipped.decode_batch(semantic, speakers),
    )

    per_hour = "s per hour of speech"
    return [
        Measurement("BiCodec encoding, batched / one at a time", encode_singly / encode, "x", 0.95),
        Measurement("BiCodec decoding, batched / one at a time", decode_singly / decode, "x", 0.95),
        Measurement("GLM encoding, batched / one at a time", glm_singly / glm_encode, "x", 0.95),
        Measurement(
            "BiCodec, global tokens alone / all tokens", everything / speakers_alone, "x", 2.0
        ),
        Measurement("BiCodec encoding, batched", encode / hours, per_hour),
        Measurement("BiCodec fixed cost: resampling and volume", resampling / hours, per_hour),
        Measurement("BiCodec fixed cost: wav2vec 2.0 front end", convolutions / hours, per_hour),
        Measurement(
            "Small BiCodec encoding", HOUR_S * hours / shipped_encode, "times real time", 20
        ),
        Measurement(
            "Small BiCodec decoding", HOUR_S * hours / shipped_decode, "times real time", 20
        ),
        Measurement("GLM encoding, batched", glm_encode / hours, per_hour),
        Measurement("GLM fixed cost: resampling", glm_resampling / hours, per_hour),
        Measurement("GLM fixed cost: log-mel", log_mels / hours, per_hour),
    ]


def _prepare_all(tokenizer: BiCodec | GLMTokenizer, speech: Sequence[Waveform]) -> list[Waveform]:
    return [tokenizer.prepare(clip, waveform, CURATED_RATE) for clip, waveform in enumerate(speech)]
