"""What tokenizing costs, as ratios measured in one run on one machine.

Batches against one utterance at a time, each part's fixed cost, and what a job adds to them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from gpa.runtime.bench import Measurement, one_torch_thread
from gpa.runtime.cache import user_cache
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.bicodec.features import standardize
from gpa.tokenize.clips import SAMPLE_RATE
from gpa.tokenize.glm import GLMTokenizer
from gpa.tokenize.glm.features import log_mel
from gpa.tokenize.small import small_tokenizers

UTTERANCES = 40
CURATED_RATE = 24000
HOUR_S = 3600.0

Waveform = NDArray[np.float32]


def bench(say: Callable[[str], None] = print) -> list[Measurement]:
    """All measurements, with small tokenizers, on one thread.

    Small ones have the published number of layers in BiCodec and the cost of an operation weighs
    less than the cost of calling it: a batch gains more by them than by published weights on a
    CPU, and about what these gain on a GPU.
    """
    with one_torch_thread(), torch.inference_mode():
        lines = _measure()
    for line in lines:
        say(str(line))
    return lines


def made_up_speech(count: int) -> list[Waveform]:
    """Noise at 24 kHz; durations are log-normal, 1 to 25 s with a median of 6 s."""
    rng = np.random.default_rng(0)
    durations_s = np.clip(rng.lognormal(np.log(6), 0.6, count), 1, 25)
    return [
        (0.1 * rng.standard_normal(int(seconds * CURATED_RATE))).astype(np.float32)
        for seconds in durations_s
    ]


def _measure() -> list[Measurement]:
    folders = small_tokenizers(user_cache(), seed=0)
    bicodec, glm = BiCodec.load(folders[0]), GLMTokenizer.load(folders[1])
    speech = made_up_speech(UTTERANCES)
    hours = sum(map(len, speech)) / CURATED_RATE / HOUR_S

    for_bicodec, for_glm = _prepare_all(bicodec, speech), _prepare_all(glm, speech)
    tokens = bicodec.encode_prepared(for_bicodec)
    semantic = [clip.semantic_tokens for clip in tokens]
    speakers = [clip.global_tokens for clip in tokens]

    encode = _cpu_s(lambda: bicodec.encode_prepared(for_bicodec))
    encode_singly = _cpu_s(lambda: [bicodec.encode_prepared([clip]) for clip in for_bicodec])
    decode = _cpu_s(lambda: bicodec.decode_batch(semantic, speakers))
    decode_singly = _cpu_s(
        lambda: [bicodec.decode(*pair) for pair in zip(semantic, speakers, strict=True)]
    )
    glm_encode = _cpu_s(lambda: glm.encode_prepared(for_glm))
    glm_singly = _cpu_s(lambda: [glm.encode_prepared([clip]) for clip in for_glm])
    speakers_alone = _cpu_s(lambda: bicodec.encode_global(speech, CURATED_RATE))
    everything = _cpu_s(lambda: bicodec.encode(speech, CURATED_RATE))

    # What is done clip by clip, whatever the batch.
    standardized = [torch.from_numpy(standardize(clip)) for clip in for_bicodec]
    resampling = _cpu_s(lambda: _prepare_all(bicodec, speech))
    convolutions = _cpu_s(lambda: [bicodec.features.frames(clip) for clip in standardized])
    glm_resampling = _cpu_s(lambda: _prepare_all(glm, speech))
    mels = _cpu_s(
        lambda: [log_mel(torch.from_numpy(clip), glm.config.num_mel_bins) for clip in for_glm]
    )

    per_hour = "s per hour of speech"
    return [
        Measurement("BiCodec encoding, batched / one at a time", encode_singly / encode, "x", 1.2),
        Measurement("BiCodec decoding, batched / one at a time", decode_singly / decode, "x", 1.0),
        Measurement("GLM encoding, batched / one at a time", glm_singly / glm_encode, "x", 1.2),
        Measurement(
            "BiCodec, global tokens alone / all tokens", everything / speakers_alone, "x", 2.0
        ),
        Measurement("BiCodec encoding, batched", encode / hours, per_hour),
        Measurement("BiCodec fixed cost: resampling and volume", resampling / hours, per_hour),
        Measurement("BiCodec fixed cost: wav2vec 2.0 front end", convolutions / hours, per_hour),
        Measurement("GLM encoding, batched", glm_encode / hours, per_hour),
        Measurement("GLM fixed cost: resampling", glm_resampling / hours, per_hour),
        Measurement("GLM fixed cost: log-mel", mels / hours, per_hour),
    ]


def _prepare_all(tokenizer: BiCodec | GLMTokenizer, speech: Sequence[Waveform]) -> list[Waveform]:
    return [tokenizer.prepare(clip, waveform, CURATED_RATE) for clip, waveform in enumerate(speech)]


def _cpu_s(work: Callable[[], object], times: int = 3) -> float:
    """The least CPU seconds of `times` runs: other processes only ever add to it."""
    least = float("inf")
    for _ in range(times):
        start = time.process_time()
        work()
        least = min(least, time.process_time() - start)
    return least
