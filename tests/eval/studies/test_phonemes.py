"""The probe: phonemes of tokens, and what a linear read-out makes of them."""

from __future__ import annotations

import numpy as np
import torch

from gpa.curation.models.asr.ctc_lexicon import BLANK_COLUMN, PHONES
from gpa.eval.studies.phonemes import Heard, between_neighbours, learn, phonemes, right


def test_a_token_has_the_likeliest_phoneme_of_its_four_frames_or_none():
    posteriors = np.full((7, len(PHONES) + 2), 1e-6, np.float32)
    posteriors[:4, 3], posteriors[1, 5] = 0.3, 0.9  # 1.2 beats 0.9
    posteriors[4:, BLANK_COLUMN] = 1
    assert phonemes(np.log(posteriors), 2).tolist() == [3, -1]


def test_tokens_and_neighbours_have_columns_of_their_own():
    assert between_neighbours(torch.tensor([0, 2]), codes=3).tolist() == [[3, 4, 10], [0, 6, 11]]


def test_the_probe_reads_what_tokens_say_and_nothing_out_of_noise():
    generator = torch.Generator().manual_seed(0)
    said = torch.randint(0, 8, (2, 3000), generator=generator)
    noise = torch.randint(0, 8, (2, 3000), generator=generator)

    def score(tokens: torch.Tensor) -> float:
        trained, tested = (
            Heard(between_neighbours(row, 8), labels)
            for row, labels in zip(tokens, said, strict=True)
        )
        return right(learn(trained, 8), tested)

    assert score(said) > 0.99
    assert score(noise) < 0.2
