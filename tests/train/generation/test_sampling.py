"""What is drawn is drawn from the scores, and from nothing that was ruled out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gpa.train.generation.sampling import Sampler, SamplingConfig

NOTHING = torch.empty(1, 0, dtype=torch.long)


def draws(config: SamplingConfig, scores: list[float], count: int) -> np.ndarray:
    """`count` choices between the same scores."""
    sampler = Sampler(config, [0])
    row = torch.tensor([scores])
    return np.array([sampler.choose(row, NOTHING, [0]).item() for _ in range(count)])


def test_choices_come_as_often_as_they_are_probable():
    probabilities = np.array([0.5, 0.25, 0.2, 0.05])
    drawn = draws(
        SamplingConfig(temperature=1.0, max_new_tokens=1), np.log(probabilities).tolist(), 4000
    )
    shares = np.bincount(drawn, minlength=4) / 4000
    # Five standard deviations of a share.
    assert np.all(np.abs(shares - probabilities) < 5 * np.sqrt(probabilities / 4000))


@pytest.mark.parametrize(
    ("settings", "possible"),
    [
        ({"temperature": 0.0}, {1}),
        ({"temperature": 1.0, "top_k": 2}, {1, 2}),
        ({"temperature": 1.0, "top_p": 0.6}, {1, 2}),
        ({"temperature": 0.01}, {1}),
    ],
)
def test_settings_rule_choices_out(settings, possible):
    config = SamplingConfig(**settings, max_new_tokens=1)
    scores = np.log([0.1, 0.5, 0.3, 0.1]).tolist()
    assert set(draws(config, scores, 200)) == possible


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=20), st.integers(0, 1000))
def test_every_draw_is_a_choice_that_top_p_leaves(scores, seed):
    sampler = Sampler(SamplingConfig(temperature=1.0, top_p=0.5, max_new_tokens=1), [seed])
    choice = sampler.choose(torch.tensor([scores]), NOTHING, [0]).item()
    more_probable = [other for other in scores if other > scores[choice]]
    total = np.exp(np.array(scores) - max(scores)).sum()
    assert np.exp(np.array(more_probable) - max(scores)).sum() <= 0.5 * total * (1 + 1e-4)


def test_a_row_draws_the_same_beside_any_others():
    config = SamplingConfig(temperature=1.0, max_new_tokens=1)
    scores = torch.zeros(3, 1000)
    nothing = torch.empty(3, 0, dtype=torch.long)
    together = Sampler(config, [5, 6, 7]).choose(scores, nothing, [0, 1, 2])
    alone = Sampler(config, [6]).choose(scores[:1], nothing[:1], [0])
    assert together[1] == alone[0]


@pytest.mark.parametrize(
    "settings", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.1}, {"max_new_tokens": 0}]
)
def test_senseless_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        SamplingConfig.model_validate({"max_new_tokens": 1, **settings})
