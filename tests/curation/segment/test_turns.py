"""Span arithmetic against sets of samples, and the rules that turn speaker turns into stretches."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.segment.turns import Drop, Stretch, interruptions, shared, split, stretches, tile
from gpa.curation.spans import intersect, subtract, union, widen

SAMPLES = 60
spans = st.lists(
    st.tuples(st.integers(0, SAMPLES - 1), st.integers(1, 20)).map(
        lambda pair: (pair[0], min(pair[0] + pair[1], SAMPLES))
    ),
    max_size=6,
)


def covered(found) -> set[int]:
    return {sample for start, end in found for sample in range(start, end)}


@given(spans, spans)
def test_spans_behave_like_sets_of_samples(first, second):
    assert covered(union(first)) == covered(first)
    assert covered(subtract(first, second)) == covered(first) - covered(second)
    assert covered(intersect(first, second)) == covered(first) & covered(second)
    assert covered(shared([union(first), union(second)])) == covered(first) & covered(second)


@given(spans, spans)
def test_results_are_sorted_and_disjoint(first, second):
    for found in (union(first), subtract(first, second), intersect(first, second)):
        assert all(start < end for start, end in found)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(found))


@given(spans, st.integers(0, 5))
def test_a_collar_stays_inside_the_recording(found, collar):
    near = {s for s in range(SAMPLES) if any(a - collar <= s < b + collar for a, b in found)}
    assert covered(widen(found, collar, SAMPLES)) == near


@given(spans, st.lists(st.tuples(st.integers(0, SAMPLES), st.integers(0, SAMPLES)), max_size=5))
def test_kept_and_dropped_tile_the_recording(kept, claimed):
    kept = union(kept)
    drops = [Drop(start, end, "too_short", float(n)) for n, (start, end) in enumerate(claimed)]
    tiles = tile(SAMPLES, kept, drops)
    whole = [*kept, *((drop.start, drop.end) for drop in tiles)]
    assert sum(end - start for start, end in whole) == SAMPLES
    assert covered(whole) == set(range(SAMPLES))


def test_the_first_claim_on_a_sample_names_the_reason():
    tiles = tile(10, [(0, 2)], [Drop(1, 5, "overlap"), Drop(4, 8, "truncated", -3.0)])
    assert tiles == [
        Drop(2, 5, "overlap"),
        Drop(5, 8, "truncated", -3.0),
        Drop(8, 10, "non_speech"),
    ]


def test_turns_of_one_speaker_join_over_a_short_pause():
    assert stretches([[(0, 10), (14, 20), (30, 40)]], [], merge_pause=5) == [
        Stretch(0, ((0, 10), (14, 20))),
        Stretch(0, ((30, 40),)),
    ]


def test_turns_do_not_join_across_another_speaker_or_cross_talk():
    assert len(stretches([[(0, 10), (14, 20)], [(11, 13)]], [], merge_pause=5)) == 3
    assert len(stretches([[(0, 10), (14, 20)]], [(11, 13)], merge_pause=5)) == 2


@given(spans, spans, spans)
def test_a_stretch_holds_nothing_foreign_and_nobody_else(first, second, foreign):
    turns_of = [union(first), subtract(second, first)]
    for stretch in stretches(turns_of, foreign, merge_pause=4):
        inside = set(range(stretch.start, stretch.end))
        assert not inside & covered(foreign)
        assert not inside & covered(turns_of[1 - stretch.speaker])


def test_a_long_stretch_is_split_at_its_longest_pause():
    stretch = Stretch(0, ((0, 100),))
    parts = split(stretch, [(20, 22), (60, 70), (90, 95)], shortest=10, longest=75)
    assert [(part.start, part.end) for part in parts] == [(0, 60), (70, 100)]


def test_without_a_usable_pause_a_stretch_stays_too_long():
    stretch = Stretch(0, ((0, 100),))
    assert split(stretch, [(2, 9), (95, 99)], shortest=10, longest=50) == [stretch]


def test_an_interruption_is_a_change_of_speaker_without_a_pause():
    alternating = [[(0, 100), (300, 400)], [(102, 250)]]
    assert interruptions(alternating, shortest=10, pause=5) == [(100, 103)]
    assert interruptions(alternating, shortest=200, pause=5) == []
