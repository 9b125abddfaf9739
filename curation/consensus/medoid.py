"""The medoid: of the hypotheses, the one that is least wrong if any of the others is right.

Minimum Bayes risk over the panel itself: let hypothesis j be the truth with a probability in
proportion to its confidence; the risk of hypothesis i is its expected WER. WER is averaged over
both directions, since with y_i as the only reference a shorter text would win every tie for being
short. Ties go to the voter named first in the panel.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpa.curation.consensus.agreement import Matrix


def medoid(matrix: Matrix, confidences: Sequence[float]) -> int:
    """Index of the hypothesis of least risk; `matrix` holds capped WER, `confidences` weigh rows."""
    risks = [
        sum(weight * (matrix[i][j] + matrix[j][i]) / 2 for j, weight in enumerate(confidences))
        for i in range(len(matrix))
    ]
    # Rounded, so that equal risks summed in another order stay equal.
    return min(range(len(risks)), key=lambda i: (round(risks[i], 12), i))
