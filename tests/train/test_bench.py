"""The benchmark measures what it says, on data of the lengths of read speech."""

from __future__ import annotations

import numpy as np
import pytest

from gpa.train.bench import bench, made_up_shards


def test_made_up_shards_have_the_published_token_rates(tmp_path):
    index = made_up_shards(tmp_path / "tokens", 200).index
    duration_s = index["duration_s"].to_numpy()
    assert np.median(duration_s) == pytest.approx(8, abs=1.5)
    assert index["semantic_tokens"].to_numpy() / duration_s == pytest.approx(50, abs=0.5)
    assert index["glm_tokens"].to_numpy() / duration_s == pytest.approx(12.5, abs=0.6)


@pytest.mark.slow
def test_packing_is_worth_it_and_the_loader_never_keeps_the_model_waiting():
    # What is far from its aim on any machine; the loops are too close for a busy one.
    sure = ("packed / as the authors", "packed / padded, the layers alone", "loader / model")
    lines = [line for line in bench() if line.name.startswith(sure)]
    assert len(lines) == len(sure)
    for line in lines:
        assert line.value >= line.at_least, line
