"""Windows of long recordings."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.models.windows import own_spans, window_spans


@given(st.floats(0.1, 20_000), st.floats(60, 900), st.floats(1, 30))
def test_windows_cover_the_recording_and_their_own_parts_tile_it(duration_s, window_s, overlap_s):
    windows = window_spans(duration_s, window_s, overlap_s)
    own = own_spans(windows)
    assert own[0][0] == 0
    assert own[-1][1] == pytest.approx(duration_s)
    assert all(left[1] == right[0] for left, right in itertools.pairwise(own))
    for (start, end), (own_start, own_end) in zip(windows, own, strict=True):
        assert end - start <= window_s + 1e-6
        assert start <= own_start < own_end <= end
