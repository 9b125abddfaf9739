"""Which samples a person listens to: drawn at random from strata, the same ones every time.

Strata are bins of pWER for what pWER alone decides, so that verdicts can be weighed back to all
utterances (`gpa.eval.labels.calibrate` uses the same bins), and one stratum for every other reason.
Each stratum keeps a small heap while partitions go by.
"""

from __future__ import annotations

import heapq
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gpa.curation.report.utterances import Floats, Utterances
from gpa.curation.tables import DAMAGED

PWER_STRATA = (0.0, 0.05, 0.10, 0.15, 0.20, 0.30, 0.50)
SEED = 20240721
LONGEST_CLIP_S = 30.0


@dataclass(frozen=True, order=True)
class Drawn:
    """One sample, before anything of it is read. Ordered by chance.

    `utterance_id` is None for a stretch that was dropped before utterances were made.
    """

    chance: float
    partition: str
    recording_id: str
    start_s: float
    end_s: float
    utterance_id: str | None = field(default=None, compare=False)
    step: str = field(default="", compare=False)
    reason: str | None = field(default=None, compare=False)
    value: float | None = field(default=None, compare=False)

    @property
    def clip_s(self) -> float:
        """How much of it is played: a stretch without speech may be minutes long."""
        return min(self.end_s - self.start_s, LONGEST_CLIP_S)


@dataclass
class Stratum:
    """Utterances of one kind; `population` counts all of them."""

    label: str
    population: int = 0
    heap: list[tuple[float, Drawn]] = field(default_factory=list)


def pwer_stratum(pwer: float) -> str:
    """The name of the stratum of a pWER."""
    place = sum(pwer > edge for edge in PWER_STRATA)
    if place == 0:
        return "pWER 0 %"
    low = PWER_STRATA[place - 1]
    if place == len(PWER_STRATA):
        return f"pWER above {low:.0%}".replace("%", " %")
    return f"pWER {low * 100:.0f} to {PWER_STRATA[place] * 100:.0f} %"


BY_PWER = [pwer_stratum(edge) for edge in (*PWER_STRATA, math.inf)]


def utterance_strata(utterances: Utterances) -> np.ndarray:
    """The stratum of each utterance, None where consensus has no row of it."""
    reasons = pc.if_else(
        # Where pWER alone does not decide on it, it would not pass the verifier either.
        pc.equal(utterances.reasons, "disagreement"),
        "disagreement, and unverified",
        utterances.reasons,
    )
    dropped = pc.binary_join_element_wise("consensus", reasons, ": ").to_numpy()
    labels = np.where(utterances.kept, "kept without pWER", dropped).astype(object)
    labels[utterances.early_exit] = "consensus: disagreement, early exit"
    by_pwer = utterances.eligible & ~np.isnan(utterances.pwer)
    place = np.searchsorted(PWER_STRATA, utterances.pwer[by_pwer], side="left")
    labels[by_pwer] = np.array(BY_PWER, object)[place]
    return labels


class Sampler:
    """Draws at most `size` samples from a run that is read once."""

    def __init__(self, size: int):
        self._size = size
        self.strata: dict[str, Stratum] = {}

    def add(self, partition: str, utterances: Utterances | None, dropped: pa.Table) -> None:
        """One partition: its utterances, and what was dropped of it in `books.REJECTED`."""
        if not self._size:
            return
        chance = np.random.default_rng([SEED, zlib.crc32(partition.encode())])
        if utterances is not None and utterances.decided:
            found = {
                "recording_id": utterances.recordings,
                "start_s": utterances.start_s,
                "end_s": utterances.end_s,
                "utterance_id": utterances.ids,
                "step": pa.repeat("consensus", len(utterances)),
                "reason": utterances.reasons,
            }
            luck = chance.random(len(utterances))
            self._draw(partition, pa.table(found), utterance_strata(utterances), luck)
        spans = dropped.filter(
            pc.and_(dropped["utterance_id"].is_null(), dropped["start_s"].is_valid())
        )
        spans = spans.filter(pc.not_equal(spans["reason"], DAMAGED))  # there is nothing to hear
        labels = pc.binary_join_element_wise(spans["stage"], spans["reason"], ": ").to_numpy()
        columns = ("recording_id", "start_s", "end_s", "stage", "reason", "value")
        spans = spans.select(columns).rename_columns({"stage": "step"})
        self._draw(partition, spans, labels, chance.random(spans.num_rows))

    def _draw(self, partition: str, found: pa.Table, labels: np.ndarray, chance: Floats) -> None:
        """Let the luckiest of each stratum into it; rows without a label are of none."""
        for label in {label for label in labels if label is not None}:
            rows = np.flatnonzero(labels == label)
            stratum = self.strata.setdefault(label, Stratum(label))
            stratum.population += len(rows)
            worst = -stratum.heap[0][0] if len(stratum.heap) >= self._size else 1.0
            lucky = rows[chance[rows] <= worst]
            lucky = lucky[np.argsort(chance[lucky], kind="stable")][: self._size]
            for luck, row in zip(
                chance[lucky].tolist(), found.take(lucky).to_pylist(), strict=True
            ):
                push = heapq.heappush if len(stratum.heap) < self._size else heapq.heappushpop
                push(stratum.heap, (-luck, Drawn(luck, partition, **row)))

    def chosen(self, longest_total_s: float) -> list[tuple[Stratum, list[Drawn]]]:
        """Samples by stratum, evenly: what a small stratum lacks, the others have more of.

        Together their audio is no longer than `longest_total_s`.
        """
        strata = [self.strata[label] for label in sorted(self.strata, key=_order)]
        lucky = [sorted(drawn for _, drawn in stratum.heap) for stratum in strata]
        size, total_s = self._size, math.inf
        while total_s > longest_total_s:
            shares = even_shares([len(each) for each in lucky], size)
            total_s = sum(
                drawn.clip_s
                for each, share in zip(lucky, shares, strict=True)
                for drawn in each[:share]
            )
            size = min(size - 1, int(size * longest_total_s / (total_s or 1.0)))
        return [
            (stratum, drawn[:share])
            for stratum, drawn, share in zip(strata, lucky, shares, strict=True)
            if share
        ]


def _order(label: str) -> tuple[int, str]:
    """By pWER, then by step."""
    return (BY_PWER.index(label) if label in BY_PWER else len(BY_PWER), label)


def even_shares(sizes: Sequence[int], total: int) -> list[int]:
    """How many to take of each so that the takes sum to `total` at most, as evenly as can be."""
    shares = [0] * len(sizes)
    left = total
    while left and (open_ := [k for k, size in enumerate(sizes) if shares[k] < size]):
        for k in open_[:left]:
            shares[k] += 1
        left = total - sum(shares)
    return shares
