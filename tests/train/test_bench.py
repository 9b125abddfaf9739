"""What the benchmark of training measures on has the lengths and rates of read speech."""

from __future__ import annotations

import numpy as np
import pytest

from gpa.train.bench import made_up_shards


def test_made_up_shards_have_the_published_token_rates(tmp_path):
    index = made_up_shards(tmp_path / "tokens", 200).index
    duration_s = index["duration_s"].to_numpy()
    assert np.median(duration_s) == pytest.approx(8, abs=1.5)
    assert index["semantic_tokens"].to_numpy() / duration_s == pytest.approx(50, abs=0.5)
    assert index["glm_tokens"].to_numpy() / duration_s == pytest.approx(12.5, abs=0.6)
