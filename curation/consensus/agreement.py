"""How far recognisers agree on one utterance: pairwise WER and the paper's pWER.

    pWER = 1 / (N (N - 1)) * sum over i != j of WER(y_i, y_j)          (section 3.1)

over hypotheses y_i in agreement units (`text/units.py`), with y_i as the reference and y_j as the
hypothesis: edits / len(y_i). Where WER is not defined or not bounded:

- two empty hypotheses agree (0); an empty one against another is wholly wrong (1);
- a pair counts at most 1 for the decision, so that one long hallucination weighs no more than any
  other wrong text; the uncapped matrix is kept beside it.

Edit distance is symmetric, so N (N - 1) / 2 distances make the matrix, each over strings in which
one character stands for one unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from rapidfuzz.distance import Levenshtein

Units = Sequence[str]
Matrix = list[list[float]]


def wer(reference: Units, hypothesis: Units) -> float:
    """Edits a unit of the reference, uncapped: WER of words, CER of characters."""
    return wer_matrix([reference, hypothesis])[0][1]


def wer_matrix(hypotheses: Sequence[Units]) -> Matrix:
    """WER of every ordered pair, shape (N, N): [i][j] has y_i as the reference. Uncapped."""
    ids: dict[str, str] = {}
    coded = ["".join([ids.setdefault(unit, chr(len(ids))) for unit in each]) for each in hypotheses]
    count = len(coded)
    matrix = [[0.0] * count for _ in range(count)]
    for i in range(count):
        for j in range(i):
            edits = Levenshtein.distance(coded[i], coded[j])
            if edits:
                both = len(coded[i]) and len(coded[j])
                matrix[i][j] = edits / len(coded[i]) if both else 1.0
                matrix[j][i] = edits / len(coded[j]) if both else 1.0
    return matrix


def capped(matrix: Matrix) -> Matrix:
    """Every pair at most 1."""
    return [[min(value, 1.0) for value in row] for row in matrix]


def pwer(matrix: Matrix) -> float | None:
    """Mean over the ordered pairs of different hypotheses; None with fewer than two."""
    count = len(matrix)
    if count < 2:
        return None
    # The diagonal is zero.
    return sum(map(sum, matrix)) / (count * (count - 1))


def pwer_against(hypotheses: Sequence[Units], other: Units) -> float:
    """Mean WER between each hypothesis and another text, both ways, every pair at most 1."""
    pairs = [pwer(capped(wer_matrix([each, other]))) or 0.0 for each in hypotheses]
    return sum(pairs) / len(pairs)


def leave_one_out(matrix: Matrix) -> list[float]:
    """pWER of the panel without each hypothesis in turn; NaN where fewer than two are left."""
    count = len(matrix)
    if count < 3:
        return [float("nan")] * count
    total = sum(map(sum, matrix))
    pairs = (count - 1) * (count - 2)
    return [
        # Rounding may leave a sum of zeros a hair below zero.
        max(0.0, total - sum(matrix[left_out]) - sum(row[left_out] for row in matrix)) / pairs
        for left_out in range(count)
    ]


@dataclass(frozen=True)
class Outlier:
    """Which of the hypotheses lies apart, and its mean distance from the others."""

    place: int
    distance: float


def outlier(hypotheses: Sequence[Units], matrix: Matrix, limit: float) -> Outlier | None:
    """The hypothesis that lies farthest from all others, where that is above `limit`.

    A distance is the mean of the capped WER both ways. Of two that lie equally far none is it, so
    that panels which split in halves stay as they are; nor is one where all others heard nothing.
    Without the farthest pWER is the least that leaving one out can give: a limit of 0 is the rule
    of leave-one-out. After the pipeline of WenetSpeech-Yue (arXiv 2509.03959).
    """
    count = len(matrix)
    if count < 3:
        return None
    both_ways = [
        [min(matrix[i][j], 1.0) + min(matrix[j][i], 1.0) for j in range(count)]
        for i in range(count)
    ]
    # Rounded, so that equal distances summed in another order stay equal.
    distances = [round(sum(row) / (2 * (count - 1)), 12) for row in both_ways]
    second, farthest = sorted(distances)[-2:]
    place = distances.index(farthest)
    heard = any(each for i, each in enumerate(hypotheses) if i != place)
    return Outlier(place, farthest) if farthest > max(limit, second) and heard else None


def without(matrix: Matrix, place: int) -> Matrix:
    """The matrix of the panel without one of its hypotheses."""
    return [row[:place] + row[place + 1 :] for i, row in enumerate(matrix) if i != place]


def pwer_lower_bound(hypotheses: Sequence[Units], panel_size: int) -> float:
    """The least that pWER can become once at most `panel_size` hypotheses are in.

    `hypotheses` are those heard so far. No hypothesis to come can be near two that lie `e` edits
    apart: with a edits to the one and b to the other, a + b >= e. What a pair of distance p adds
    to the sum, at least, is `_least_cost(p, length)`, which is concave in p, so the sum over
    both is least where the newcomer equals one of the two. Over n hypotheses each pair is such a
    bound and each hypothesis stands in n - 1 pairs. Newcomers agree among themselves at best,
    and some may never come: the least over all panel sizes is taken. Compare it with a threshold
    less a rounding margin such as 1e-9; then skipping the newcomers loses nothing.
    """
    matrix = capped(wer_matrix(hypotheses))
    count = len(hypotheses)
    heard = sum(map(sum, matrix))
    newcomer = 0.0
    for i in range(count):
        for j in range(i):
            edits = Levenshtein.distance(hypotheses[i], hypotheses[j])
            costs = (_least_cost(edits, len(hypotheses[k])) for k in (i, j))
            newcomer += min(costs) / (count - 1)
    sizes = range(max(count, 2), max(count, panel_size, 2) + 1)
    return min((heard + (size - count) * newcomer) / (size * (size - 1)) for size in sizes)


def _least_cost(edits: int, length: int) -> float:
    """Least capped WER both ways between a text of `length` units and any text `edits` away."""
    if edits == 0:
        return 0.0
    if length == 0:
        return 2.0
    # The other text has at most length + edits units.
    return min(edits / length, 1.0) + edits / (length + edits)


def label_confidence(
    disagreement: Sequence[float],
    confidences: Sequence[float | None],
    verifier_distance: float | None,
) -> float:
    """How far to trust the chosen text, in [0, 1]: agreement times the voters' own confidence.

    Agreement is 1 minus the mean capped WER of the voters against the chosen text; a lone voter's
    agreement is with the verifier. The voters' confidence is the mean of those that give one,
    weighted by each one's agreement with the chosen text; 1 where none does. It ranks
    utterances of one panel; it is no probability, and no gate: recognisers loop confidently.
    """
    agreement = 1.0 - sum(disagreement) / len(disagreement)
    if len(disagreement) == 1:
        agreement = 1.0 - min(1.0, verifier_distance) if verifier_distance is not None else 0.0
    weighed = [
        (1.0 - distance, confidence)
        for distance, confidence in zip(disagreement, confidences, strict=True)
        if confidence is not None
    ]
    weight = sum(weight for weight, _ in weighed)
    own = sum(weight * confidence for weight, confidence in weighed) / weight if weight else 1.0
    return min(1.0, max(0.0, agreement * own))


@dataclass(frozen=True)
class Dispute:
    """What one recogniser heard where another heard something else, in agreement units."""

    first: str
    second: str
    heard_first: str
    heard_second: str


def disputes(hypotheses: Mapping[str, Units]) -> tuple[Dispute, ...]:
    """Where two heard different words at one place, each once; names and words in order.

    "forty" against "fourteen" is a dispute; what one heard and the other did not is none.
    """
    found = set()
    for first, second in combinations(sorted(hypotheses), 2):
        one, other = hypotheses[first], hypotheses[second]
        if one != other:
            found |= {
                (first, second, one[edit.src_pos], other[edit.dest_pos])
                for edit in Levenshtein.editops(one, other)
                if edit.tag == "replace"
            }
    return tuple(Dispute(*each) for each in sorted(found))
