"""Curated speech for a codec: who is trained on, and the pieces of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby

import numpy as np
import torch
from torch.utils.data import Dataset

from gpa.curation.curated import CuratedUtterance, find_shards, read_shard
from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.bicodec.features import FRAME_SAMPLES, HOP_SAMPLES, standardize
from gpa.tokenize.bicodec.model import Waveform
from gpa.tokenize.clips import SAMPLE_RATE, ClipError

# Decoded clips that are kept, of a few seconds each: about 1 GB.
CLIPS_IN_MEMORY = 2048


def read_utterances(curated: str) -> tuple[list[CuratedUtterance], str]:
    """All curated utterances, their audio as FLAC in memory (85 MB an hour), and their digest.

    Raises UserError where there are none or a shard is damaged.
    """
    shards = find_shards(curated)
    utterances = [each for shard in shards.partitions.values() for each in read_shard(shard)]
    return utterances, hashlib.sha256("".join(sorted(shards.partitions)).encode()).hexdigest()[:16]


def split(
    utterances: Sequence[CuratedUtterance], share: float
) -> tuple[list[CuratedUtterance], list[CuratedUtterance]]:
    """Utterances to train on and utterances held back, of other speakers where there are several.

    Speakers are held back in the order of a hash of their name as long as `share` of the speech
    holds them, and at least the one who says least; of one speaker alone, utterances are.
    """
    if len(utterances) < 2 or not share:
        return list(utterances), []
    by_speaker = groupby(sorted(utterances, key=_speaker), key=_speaker)
    groups = [list(group) for _, group in by_speaker]
    if len(groups) == 1:
        groups = [[utterance] for utterance in groups[0]]
    groups.sort(key=lambda group: _hash(group[0], len(groups) == len(utterances)))
    allowed_s = share * _seconds(utterances)
    held: list[CuratedUtterance] = []
    for group in groups:
        if _seconds(held) + _seconds(group) <= allowed_s:
            held += group
    held = held or min(groups, key=_seconds)
    names = {utterance.metadata["utterance_id"] for utterance in held}
    return [each for each in utterances if each.metadata["utterance_id"] not in names], held


def _speaker(utterance: CuratedUtterance) -> str:
    return utterance.metadata["speaker"]


def _hash(utterance: CuratedUtterance, alone: bool) -> bytes:
    name = utterance.metadata["utterance_id"] if alone else _speaker(utterance)
    return hashlib.sha256(name.encode()).digest()


def _seconds(utterances: Sequence[CuratedUtterance]) -> float:
    return sum(utterance.duration_s for utterance in utterances)


class Speech:
    """Utterances as the codec prepares them; those that it can't use are left out."""

    def __init__(self, utterances: Sequence[CuratedUtterance], codec: BiCodec):
        self.codec = codec
        self.utterances = [each for each in utterances if _usable(each, codec)]
        self.left_out = len(utterances) - len(self.utterances)
        self.clip = lru_cache(CLIPS_IN_MEMORY)(self._clip)

    def __len__(self) -> int:
        return len(self.utterances)

    def _clip(self, number: int) -> Waveform:
        """The waveform (samples,) at 16 kHz."""
        return self.codec.prepare(number, *self.utterances[number].decode())


def _usable(utterance: CuratedUtterance, codec: BiCodec) -> bool:
    try:
        codec.prepare(0, *utterance.decode())
    except (ClipError, ValueError):
        return False
    return True


class Pieces(Dataset):
    """Random pieces of speech, each a function of the seed and its number: a run can be resumed.

    `first` is the piece that training begins with. A piece has `tokens` tokens, and `voice_s`
    seconds of the same utterance say who speaks.
    """

    def __init__(
        self, speech: Speech, count: int, tokens: int, voice_s: float, seed: int, first: int = 0
    ):
        if not len(speech):
            raise UserError("No curated utterance is left to train the codec on; curate more.")
        self.speech, self.count, self.seed, self.first = speech, count, seed, first
        self.samples = tokens * HOP_SAMPLES + FRAME_SAMPLES - HOP_SAMPLES
        self.voice_samples = int(voice_s * SAMPLE_RATE)
        seconds = np.array([utterance.duration_s for utterance in speech.utterances])
        self.shares = seconds / seconds.sum()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict[str, Waveform]:
        rng = np.random.default_rng((self.seed, number))
        clip = self.speech.clip(int(rng.choice(len(self.shares), p=self.shares)))
        piece = _cut(clip, self.samples, rng)
        heard = standardize(clip)
        return {
            "waveforms": clip[piece],
            "heard": heard[piece],
            "voices": clip[_cut(clip, self.voice_samples, rng)],
        }


def _cut(clip: Waveform, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of the samples of a random piece; a shorter clip is repeated."""
    start = rng.integers(0, max(1, len(clip) - samples + 1))
    return np.arange(start, start + samples) % len(clip)


def collate(pieces: Sequence[Mapping[str, Waveform]]) -> dict[str, torch.Tensor]:
    """Pieces as tensors (batch, samples)."""
    return {
        name: torch.from_numpy(np.stack([piece[name] for piece in pieces])) for name in pieces[0]
    }
