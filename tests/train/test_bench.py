"""What the benchmark of training measures on has the lengths and rates of read speech."""

from __future__ import annotations

import numpy as np
import pytest

from gpa.train.bench import made_up_shards


def test_made_up_shards_have_the_published_token_rates(tmp_path):
    shards = made_up_shards(tmp_path / "tokens", 200)
    duration_s = shards.table(["duration_s"])["duration_s"].to_numpy()
    tokens = [shards.tokens(number) for number in range(200)]
    semantic, glm = (
        np.array([len(getattr(each, kind)) for each in tokens])
        for kind in ("semantic_tokens", "glm_tokens")
    )
    assert np.median(duration_s) == pytest.approx(8, abs=1.5)
    assert semantic / duration_s == pytest.approx(50, abs=0.5)
    assert glm / duration_s == pytest.approx(12.5, abs=0.6)
