"""Curated speech for a codec: who is trained on, and the pieces of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from gpa.curation.curated import CuratedUtterance, find_shards, read_shard
from gpa.runtime.errors import UserError
from gpa.tokenize.bicodec import BiCodec
from gpa.tokenize.bicodec.features import HOP_SAMPLES, frame_count, standardize
from gpa.tokenize.bicodec.model import Waveform
from gpa.tokenize.clips import SAMPLE_RATE, ClipError

# Clips that are kept decoded and heard, of a few seconds each: about 1.5 GB.
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
        self.heard = lru_cache(CLIPS_IN_MEMORY)(self._heard)

    def __len__(self) -> int:
        return len(self.utterances)

    def _clip(self, number: int) -> Waveform:
        """The waveform (samples,) at 16 kHz."""
        return self.codec.prepare(number, *self.utterances[number].decode())

    @torch.inference_mode()
    def _heard(self, number: int) -> NDArray[np.float16]:
        """What the codec hears of the whole clip, (frames, channels)."""
        waveform = torch.from_numpy(standardize(self.clip(number))).to(self.codec.device)
        return self.codec.features([waveform])[0].half().cpu().numpy()


def _usable(utterance: CuratedUtterance, codec: BiCodec) -> bool:
    try:
        codec.prepare(0, *utterance.decode())
    except (ClipError, ValueError):
        return False
    return True


class Pieces(Dataset):
    """Random pieces of speech, each a function of the seed and its number: a run can be resumed.

    `first` is the piece that training begins with. A piece has `tokens` tokens; `voice_s` seconds
    of any utterance of its speaker say who speaks, and seldom what is said.
    """

    def __init__(
        self,
        speech: Speech,
        count: int,
        tokens: int,
        voice_s: float,
        seed: int,
        first: int = 0,
    ):
        if not len(speech):
            raise UserError("No curated utterance is left to train the codec on; curate more.")
        self.speech, self.count, self.seed, self.first = speech, count, seed, first
        self.tokens = tokens
        self.voice_samples = int(voice_s * SAMPLE_RATE)
        seconds = np.array([utterance.duration_s for utterance in speech.utterances])
        _, self.speakers = np.unique(list(map(_speaker, speech.utterances)), return_inverse=True)
        # Who says much is heard more, but only by the root of it.
        shares = seconds / np.sqrt(np.bincount(self.speakers, seconds))[self.speakers]
        self.shares = shares / shares.sum()

    @property
    def voices(self) -> int:
        """How many there are."""
        return int(self.speakers.max()) + 1

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict[str, NDArray[np.float32]]:
        rng = np.random.default_rng((self.seed, number))
        utterance = int(rng.choice(len(self.shares), p=self.shares))
        other = int(rng.choice(np.flatnonzero(self.speakers == self.speakers[utterance])))
        clip, voice = self.speech.clip(utterance), self.speech.clip(other)
        frames = _cut(frame_count(len(clip)), self.tokens, rng)
        samples = frames[:, None] * HOP_SAMPLES + np.arange(HOP_SAMPLES)
        return {
            "waveforms": clip[samples.ravel()],
            "features": self.speech.heard(utterance)[frames].astype(np.float32),
            "voices": voice[_cut(len(voice), self.voice_samples, rng)],
        }


def _cut(length: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of a random piece's samples or frames; what is shorter is repeated."""
    start = rng.integers(0, max(1, length - count + 1))
    return np.arange(start, start + count) % length


def collate(pieces: Sequence[Mapping[str, NDArray[np.float32]]]) -> dict[str, torch.Tensor]:
    """Pieces as tensors (batch, ...)."""
    return {
        name: torch.from_numpy(np.stack([piece[name] for piece in pieces])) for name in pieces[0]
    }
