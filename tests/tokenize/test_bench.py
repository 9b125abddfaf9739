"""The benchmark measures what it says."""

from __future__ import annotations

import numpy as np
import pytest

from gpa.tokenize.bench import CURATED_RATE, bench, made_up_speech


def test_made_up_speech_has_the_lengths_of_utterances():
    durations_s = np.array([len(clip) / CURATED_RATE for clip in made_up_speech(60)])
    assert np.median(durations_s) == pytest.approx(6, abs=1.5)
    assert 1 <= durations_s.min() < durations_s.max() <= 25


@pytest.mark.slow
def test_global_tokens_cost_no_pass_of_wav2vec2_and_no_part_costs_more_than_the_whole():
    printed: list[str] = []
    lines = {line.name: line for line in bench(printed.append)}
    assert len(printed) == len(lines)
    alone = lines["BiCodec, global tokens alone / all tokens"]
    assert alone.value >= alone.at_least
    for name in ("BiCodec", "GLM"):
        whole = lines[f"{name} encoding, batched"].value
        assert all(line.value < whole for n, line in lines.items() if n.startswith(f"{name} fixed"))
