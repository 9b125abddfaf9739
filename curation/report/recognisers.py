"""How far the panel agrees, and what another threshold of pWER would keep.

Everything is a sum over utterances, so that a run of any size is read once, partition by
partition. Thresholds are tried on a grid of 0.5 %; since an utterance is kept strictly below the
threshold, each bin holds pWER from its lower edge up to, and without, its upper one.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gpa.curation.report.utterances import Floats, Utterances, Votes

# Thresholds from 0 to 50 % in steps of 0.5 %.
GRID = tuple(step / 200 for step in range(101))
LENGTHS_S = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0)
MOS_STEPS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
# A given text so far from what the panel heard is one of other audio, or of more or less of it.
OTHER_AUDIO = 0.5
# Of speakers and recordings so many are named: those of which the most seconds were dropped.
WORST = 12


@dataclass
class Group:
    """Sums over utterances that have something in common."""

    utterances: int = 0
    kept: int = 0
    seconds: float = 0.0
    kept_s: float = 0.0
    voted: int = 0  # that have a pWER
    pwer: float = 0.0  # their sum

    def add(self, sums: Sequence[float]) -> None:
        """More sums, in the order of the fields."""
        self.utterances += int(sums[0])
        self.kept += int(sums[1])
        self.seconds += float(sums[2])
        self.kept_s += float(sums[3])
        self.voted += int(sums[4])
        self.pwer += float(sums[5])

    @property
    def mean_pwer(self) -> float | None:
        return ratio(self.pwer, self.voted)


@dataclass
class Ranking:
    """Speakers or recordings: how many, those that lost most, and how much of each is kept."""

    count: int = 0
    shares: NDArray[np.int64] = field(default_factory=lambda: np.zeros(10, np.int64))
    worst: list[tuple[float, str, Group]] = field(default_factory=list)

    def add(self, name: str, group: Group) -> None:
        """One that will not come again."""
        self.count += 1
        share = group.kept_s / group.seconds if group.seconds else 0.0
        self.shares[min(int(share * 10), 9)] += 1
        lost_s = group.seconds - group.kept_s
        entry = (lost_s, name, group)
        if len(self.worst) < WORST:
            heapq.heappush(self.worst, entry)
        elif entry[:2] > self.worst[0][:2]:
            heapq.heapreplace(self.worst, entry)

    def spread(self) -> list[tuple[str, int]]:
        """How many there are by the share of their audio that is kept."""
        return [
            (f"{place * 10} to {place * 10 + 10} %", int(count))
            for place, count in enumerate(self.shares)
            if count
        ]

    def named(self) -> list[tuple[str, Group]]:
        """The worst first."""
        return [(name, group) for _, name, group in sorted(self.worst, key=lambda e: (-e[0], e[1]))]


class Agreement:
    """Sums over a run; recognisers by their place in `asrs`."""

    def __init__(self, asrs: Sequence[str], config: Mapping[str, Any], exact_to: float = 1.0):
        self.asrs = list(asrs)
        self.threshold = float(config["max_pwer"])
        self._min_voters = int(config.get("min_voters", 2))
        # Early exit leaves it open what a higher threshold would keep.
        self.exact_to = exact_to
        grid = (edge for edge in GRID if edge <= exact_to)
        self.edges = np.array(sorted({*grid, self.threshold}))
        self.leaves_out = config.get("max_outlier_distance") is not None
        # What the other rule would keep beyond this run's, and would not keep.
        self.gained, self.lost = Group(), Group()
        self.early_exits = 0
        self.early_exits_s = 0.0
        self.given = 0  # utterances whose text a manifest gives
        self.given_pwer = 0.0  # their sum
        self.given_other = 0  # of those, of other audio
        bins, count = len(self.edges), len(self.asrs)
        # What pWER alone decides on; the last bin has everything from the last edge up.
        self.eligible = np.zeros(bins, np.int64)
        self.eligible_s = np.zeros(bins)
        self.eligible_pwer = np.zeros(bins)
        # All that have a pWER, whatever else was wrong with them.
        self.histogram = np.zeros(bins, np.int64)
        self.kept_unvoted = 0  # a verifier stood in for the second voter: no threshold applies
        self.kept_unvoted_s = 0.0
        self.pair_wer = np.zeros((count, count))
        self.pair_count = np.zeros((count, count), np.int64)
        self.voted = np.zeros(count, np.int64)
        self.without = np.zeros(count)  # sums of the panel's pWER without each
        self.with_all = np.zeros(count)  # and with it, over the same utterances
        self.left_out = np.zeros(count, np.int64)  # over how many
        self.vetoes = np.zeros(count, np.int64)
        self.vetoes_s = np.zeros(count)
        self.panel_sizes: Counter[int] = Counter()
        self.struck: Counter[tuple[str, str]] = Counter()  # by recogniser and reason
        self.struck_s: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.languages: dict[str, Group] = {}
        self.lengths = [Group() for _ in LENGTHS_S]
        self.qualities = [Group() for _ in MOS_STEPS]
        self.unscored = Group()  # utterances without a MOS
        self.speakers = Ranking()
        self.recordings = Ranking()

    def add(self, utterances: Utterances) -> None:
        """One partition; every speaker and recording must lie in one partition whole."""
        if not utterances.decided or not len(utterances):
            return
        self._add_thresholds(utterances)
        self._add_other_rule(utterances)
        self.early_exits += int(utterances.early_exit.sum())
        self.early_exits_s += float(utterances.duration_s[utterances.early_exit].sum())
        given = utterances.given_pwer[~np.isnan(utterances.given_pwer)]
        self.given += len(given)
        self.given_pwer += float(given.sum())
        self.given_other += int((given >= OTHER_AUDIO).sum())
        for key, (count, seconds) in utterances.struck.items():
            self.struck[key] += count
            self.struck_s[key] += seconds
        self.panel_sizes[0] += len(utterances)
        for votes in utterances.votes:
            self.panel_sizes[votes.voters.shape[1]] += len(votes.rows)
            self.panel_sizes[0] -= len(votes.rows)
            self._add_pairs(votes)
            self._add_leave_one_out(votes, utterances)
        self._add_groups(utterances)

    def _add_thresholds(self, utterances: Utterances) -> None:
        voted = ~np.isnan(utterances.pwer)
        bins = len(self.edges)
        self.histogram += np.bincount(self._bin(utterances.pwer[voted]), minlength=bins)
        chosen = voted & utterances.eligible
        pwer = utterances.pwer[chosen]
        place = self._bin(pwer)
        self.eligible += np.bincount(place, minlength=bins)
        self.eligible_s += np.bincount(place, utterances.duration_s[chosen], bins)
        self.eligible_pwer += np.bincount(place, pwer, bins)
        unvoted = utterances.kept & ~voted
        self.kept_unvoted += int(unvoted.sum())
        self.kept_unvoted_s += float(utterances.duration_s[unvoted].sum())

    def _add_other_rule(self, utterances: Utterances) -> None:
        voted = utterances.eligible & ~np.isnan(utterances.pwer)
        by_other = utterances.pwer_other_rule < self.threshold
        sides = np.select(
            [voted & by_other & ~utterances.kept, voted & ~by_other & utterances.kept], [1, 2]
        )
        _, gained, lost = _sums(sides, 3, utterances)
        self.gained.add(gained)
        self.lost.add(lost)

    def _bin(self, pwer: Floats) -> NDArray[np.int64]:
        return np.searchsorted(self.edges, pwer, side="right") - 1

    def _add_pairs(self, votes: Votes) -> None:
        """WER between each two that voted."""
        count = len(self.asrs)
        for i in range(votes.voters.shape[1]):
            for j in range(votes.voters.shape[1]):
                if i != j:
                    pair = votes.voters[:, i] * count + votes.voters[:, j]
                    wer = np.bincount(pair, votes.wer[:, i, j], count * count)
                    self.pair_wer += wer.reshape(count, count)
                    seen = np.bincount(pair, minlength=count * count)
                    self.pair_count += seen.reshape(count, count)

    def _add_leave_one_out(self, votes: Votes, utterances: Utterances) -> None:
        panel = votes.voters.shape[1]
        pwer = utterances.pwer[votes.rows]
        seconds = utterances.duration_s[votes.rows]
        dropped = utterances.eligible[votes.rows] & ~utterances.kept[votes.rows]
        count = len(self.asrs)
        for i in range(panel):
            voter, without = votes.voters[:, i], votes.pwer_without[:, i]
            self.voted += np.bincount(voter, minlength=count)
            # A panel of two has nothing to compare once one is left out.
            known = ~np.isnan(without)
            self.without += np.bincount(voter[known], without[known], count)
            self.with_all += np.bincount(voter[known], pwer[known], count)
            self.left_out += np.bincount(voter[known], minlength=count)
            if panel > self._min_voters:
                vetoed = dropped & known & (without < self.threshold)
                self.vetoes += np.bincount(voter[vetoed], minlength=count)
                self.vetoes_s += np.bincount(voter[vetoed], seconds[vetoed], count)

    def _add_groups(self, utterances: Utterances) -> None:
        for name, group in _by_name(utterances.languages, utterances):
            self.languages.setdefault(name, Group()).add(group)
        lengths = np.searchsorted(LENGTHS_S, utterances.duration_s, side="right") - 1
        for place, sums in enumerate(_sums(lengths, len(LENGTHS_S), utterances)):
            self.lengths[place].add(sums)
        scored = ~np.isnan(utterances.mos)
        steps = np.searchsorted(MOS_STEPS, utterances.mos, side="right") - 1
        steps = np.where(scored, np.clip(steps, 0, None), len(MOS_STEPS))
        sums = _sums(steps, len(MOS_STEPS) + 1, utterances)
        for group, of_step in zip([*self.qualities, self.unscored], sums, strict=True):
            group.add(of_step)
        for ranking, names in (
            (self.speakers, utterances.speakers),
            (self.recordings, utterances.recordings),
        ):
            for name, sums_of_one in _by_name(names, utterances):
                group = Group()
                group.add(sums_of_one)
                ranking.add(name, group)

    def thresholds(self) -> list[dict[str, Any]]:
        """What each threshold would keep, and how many utterances would change sides."""
        zero = np.zeros(1)
        kept = np.concatenate([zero, np.cumsum(self.eligible)[:-1]])
        kept_s = np.concatenate([zero, np.cumsum(self.eligible_s)[:-1]])
        pwer = np.concatenate([zero, np.cumsum(self.eligible_pwer)[:-1]])
        now = kept[self.place]
        return [
            {
                "threshold": float(edge),
                "kept_utterances": int(kept[k]) + self.kept_unvoted,
                "kept_s": round(float(kept_s[k]) + self.kept_unvoted_s, 3),
                "mean_pwer": ratio(pwer[k], kept[k]),
                "change_sides": int(abs(kept[k] - now)),
            }
            for k, edge in enumerate(self.edges)
        ]

    def given_texts(self) -> dict[str, Any]:
        """How the texts that a manifest gives compare with what the panel heard."""
        return {
            "utterances": self.given,
            "mean_pwer": ratio(self.given_pwer, self.given),
            "of_other_audio": self.given_other,
        }

    @property
    def place(self) -> int:
        """Which of `edges` is the threshold of the run."""
        return int(np.searchsorted(self.edges, self.threshold))

    def pairwise(self) -> list[list[float | None]]:
        """Mean WER, [i][j] with i as the reference; None on the diagonal and where none voted."""
        return [
            [ratio(wer, count) for wer, count in zip(*row, strict=True)]
            for row in zip(self.pair_wer, self.pair_count, strict=True)
        ]

    def leave_one_out(self) -> list[dict[str, Any]]:
        """For each recogniser that voted: pWER with and without it, and what it alone vetoed."""
        return [
            {
                "asr": asr,
                "voted": int(self.voted[k]),
                "pwer_with": ratio(self.with_all[k], self.left_out[k]),
                "pwer_without": ratio(self.without[k], self.left_out[k]),
                "vetoes": int(self.vetoes[k]),
                "vetoes_s": round(float(self.vetoes_s[k]), 3),
            }
            for k, asr in enumerate(self.asrs)
            if self.voted[k]
        ]


def ratio(total: float, count: float) -> float | None:
    """A mean; None of nothing."""
    return float(total / count) if count else None


def _sums(place: NDArray[np.int64], groups: int, utterances: Utterances) -> NDArray[np.float64]:
    """The fields of `Group` for each group, shape (groups, 6)."""
    voted = ~np.isnan(utterances.pwer)
    weights = (
        None,
        utterances.kept,
        utterances.duration_s,
        utterances.duration_s * utterances.kept,
        voted,
        np.where(voted, utterances.pwer, 0.0),
    )
    return np.stack([np.bincount(place, weight, groups) for weight in weights], axis=1)


def _by_name(names: pa.ChunkedArray, utterances: Utterances):
    """Sums of `Group` by name."""
    encoded = pc.fill_null(names, "und").combine_chunks().dictionary_encode()
    known = encoded.dictionary.to_pylist()
    sums = _sums(encoded.indices.to_numpy(), len(known), utterances)
    return zip(known, sums, strict=True)
