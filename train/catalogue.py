"""Who is trained on and who is held back, as integers: at most 16 bytes an utterance.

Utterances are renumbered speaker by speaker, speakers in the order of a hash of their name. The
first of them are held back, and another utterance of the same speaker is a neighbour. The arrays
lie in files that are mapped: a loader worker is handed their folder, and none of them is read
from the disk twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gpa.runtime.errors import UserError
from gpa.tokenize.sequences import Composition, sequence_lengths
from gpa.tokenize.shards import LISTS, TokenShards
from gpa.train.permutation import random_bits

# Far longer than any row: what is longer is dropped, however long it is.
LONGEST = 2**16 - 1

Numbers = NDArray[np.int64]


class Catalogue:
    """The utterances of token shards, by position: speaker by speaker.

    `rows` (uint32) has the number of each in the shards; `lengths` (uint16, shape (utterances, 3))
    its text, GLM and semantic tokens; `speakers` (uint32) where each speaker begins, and the end.
    Positions below `held_back` are never trained on. `by_group` (uint32) has the others group by
    group, a group being a language and a source, and `groups` says which part of it is whose.
    `languages` are those of all, held back or not.

    At least one speaker is held back where `share` is above 0. Speakers are chosen by a hash of
    their name, so that they stay on their side when data is added. Raises UserError where nobody
    would be left.
    """

    ARRAYS = ("rows", "lengths", "speakers", "by_group")
    rows: NDArray[np.uint32]
    lengths: NDArray[np.uint16]
    speakers: NDArray[np.uint32]
    by_group: NDArray[np.uint32]

    def __init__(self, shards: TokenShards, share: float):
        self._scratch = TemporaryDirectory(prefix="gpa-catalogue-")
        self.folder = Path(self._scratch.name)
        keys, codes, lengths, names = _columns(shards)
        # Codes are as the names came; groups are in the order of their names.
        ordered = sorted(names)
        self.languages = sorted({language for language, _ in names})
        rank = np.array([ordered.index(name) for name in names], np.uint16)
        order = np.argsort(keys, kind="stable")
        begins = np.flatnonzero(np.diff(keys[order], prepend=~keys[order[:1]]) != 0)
        del keys
        held_speakers = speakers_held_back(len(begins), share)
        speakers = np.append(begins, len(order)).astype(np.uint32)
        self.held_speakers, self.held_back = held_speakers, int(speakers[held_speakers])

        groups = rank[codes[order[self.held_back :]]]
        by_group = np.argsort(groups, kind="stable").astype(np.uint32)
        by_group += np.uint32(self.held_back)
        ends = np.cumsum(np.bincount(groups, minlength=len(names))).tolist()
        self.groups: dict[tuple[str, str], slice] = {
            name: slice(start, end)
            for name, start, end in zip(ordered, [0, *ends], ends, strict=False)
            if end > start
        }
        self._save("rows", order.astype(np.uint32))
        self._save("lengths", lengths[order])
        self._save("speakers", speakers)
        self._save("by_group", by_group)
        self._map()

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        left = {"_scratch", *self.ARRAYS}
        return {name: value for name, value in vars(self).items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._map()

    @property
    def trained(self) -> int:
        """How many utterances are trained on."""
        return len(self.by_group)

    @property
    def own_references(self) -> int:
        """Utterances trained on whose speaker has no other: they are their own reference."""
        return int(np.count_nonzero(np.diff(self.speakers[self.held_speakers :]) == 1))

    def sequence_lengths(
        self,
        composition: Composition,
        sources: NDArray[Any],
        targets: NDArray[Any],
        references: NDArray[Any],
    ) -> Numbers:
        """Tokens of the sequences that are composed of these.

        Longer than any row where a target would be spoken on from itself.
        """
        text, glm, semantic = self.lengths[targets].astype(np.int64).T
        if composition == "vc":
            semantic = semantic + self.lengths[sources, 2]
        elif composition == "tts_continued":
            before = self.lengths[references].astype(np.int64)
            text = np.where(references == targets, LONGEST, text + before[:, 0])
            semantic = semantic + before[:, 2]
        return sequence_lengths(composition, text, glm, semantic)

    def references(self, targets: NDArray[Any], key: Sequence[int]) -> Numbers:
        """For each another utterance of the same speaker, at random; itself where there is none.

        A reference that is always the target itself would let the model read prosody and content
        out of the timbre.
        """
        speaker = np.searchsorted(self.speakers, targets, side="right") - 1
        first = self.speakers[speaker].astype(np.int64)
        count = self.speakers[speaker + 1].astype(np.int64) - first
        others = np.maximum(count - 1, 1)
        step = 1 + (random_bits(targets, key) % others.astype(np.uint64)).astype(np.int64)
        return first + (targets - first + step) % count

    def anyone(self, targets: NDArray[Any], key: Sequence[int]) -> Numbers:
        """For each an utterance trained on, of any speaker, at random."""
        drawn = random_bits(targets, key) % np.uint64(self.trained)
        return self.held_back + drawn.astype(np.int64)

    def positions(self, numbers: NDArray[Any]) -> Numbers:
        """Positions of utterances given by their numbers in the shards."""
        place = np.empty(len(self), np.uint32)
        place[self.rows] = np.arange(len(self), dtype=np.uint32)
        return place[numbers].astype(np.int64)

    def _save(self, name: str, array: NDArray[Any]) -> None:
        np.save(self.folder / f"{name}.npy", array)

    def _map(self) -> None:
        for name in self.ARRAYS:
            setattr(self, name, np.load(self.folder / f"{name}.npy", mmap_mode="r"))


def speakers_held_back(speakers: int, share: float) -> int:
    """How many of so many speakers are never trained on; UserError where none would be left."""
    held = math.ceil(share * speakers)
    if held and held >= speakers:
        raise UserError(
            f"Of {speakers} speaker(s) none would be left to train on; add data, or set "
            "train.held_back_share to 0 to train without evaluation."
        )
    return held


def _columns(
    shards: TokenShards,
) -> tuple[NDArray[np.uint64], NDArray[np.uint16], NDArray[np.uint16], list[tuple[str, str]]]:
    """Keys of speakers, codes of groups and lengths of all utterances, and the groups' names."""
    keys = np.empty(len(shards), np.uint64)
    codes = np.empty(len(shards), np.uint16)
    lengths = np.empty((len(shards), len(LISTS)), np.uint16)
    known: dict[tuple[str, str], int] = {}
    start = 0
    for rows in shards.shards():
        part = slice(start, start + rows.num_rows)
        keys[part] = rows["speaker_key"].to_numpy()
        codes[part] = _group_codes(rows["language"], rows["source"], known)
        for column, name in enumerate(LISTS):
            lengths[part, column] = np.minimum(np.diff(rows[name].offsets.to_numpy()), LONGEST)
        start = part.stop
    return keys, codes, lengths, list(known)


def _group_codes(
    languages: Any, sources: Any, known: dict[tuple[str, str], int]
) -> NDArray[np.uint16]:
    """The code of each row's language and source; new ones are added to `known`."""
    language, source = (column.dictionary_encode() for column in (languages, sources))
    names = [(a, b) for a in language.dictionary.to_pylist() for b in source.dictionary.to_pylist()]
    width = len(source.dictionary)
    pairs = language.indices.to_numpy() * width + source.indices.to_numpy()
    code = np.zeros(len(names), np.uint16)
    for pair in np.flatnonzero(np.bincount(pairs)).tolist():
        code[pair] = known.setdefault(names[pair], len(known))
    return code[pairs]


def numbers_of(shards: TokenShards, names: Sequence[str]) -> dict[str, int]:
    """The number in the shards of each utterance named; names that are in none are left out."""
    wanted, numbers, start = pa.array(names, pa.string()), {}, 0
    for rows in shards.shards():
        ids = rows["utterance_id"]
        for row in np.flatnonzero(pc.is_in(ids, wanted).to_numpy(zero_copy_only=False)).tolist():
            numbers[ids[row].as_py()] = start + row
        start += rows.num_rows
    return numbers
