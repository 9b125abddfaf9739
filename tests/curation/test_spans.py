"""Groups of about one size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.spans import filled


@given(st.lists(st.floats(0.1, 5000.0), max_size=60), st.floats(1.0, 2000.0))
def test_groups_keep_order_lose_nothing_and_hold_about_the_target(sizes, target):
    groups = list(filled(sizes, float, target))
    assert [size for group in groups for size in group] == sizes
    for group in groups[:-1]:
        assert sum(group) >= target * (1 - 1e-9)
    for group in groups:
        assert sum(group[:-1]) < target
