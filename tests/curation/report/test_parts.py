"""Small rules of the report, one by one."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from gpa.curation.report.charts import histogram, y_steps
from gpa.curation.report.clips import (
    BUDGET_BYTES,
    LEAST_BPS,
    LONGEST_TOTAL_S,
    OUTLINE_POINTS,
    bits_per_second,
    mp3_data_uri,
    outline,
)
from gpa.curation.report.licences import lineage, rank
from gpa.curation.report.listen import columns
from gpa.curation.report.samples import even_shares, pwer_stratum


def written(row):
    return [cell.written for cell in row[1]]


def test_hypotheses_stand_in_columns_with_what_differs_marked():
    chosen, other = columns(
        {"b": "the quick fox jumps", "a": "The quick, brown fox jumped"}, "a", "en"
    )
    assert chosen[0] == "a"
    assert written(chosen) == ["The", "quick,", "brown", "fox", "jumped"]
    assert written(other) == ["the", "quick", "", "fox", "jumps"]
    assert [cell.differs for cell in other[1]] == [False, False, True, False, True]


def test_a_recogniser_that_heard_nothing_has_empty_columns():
    rows = columns({"a": "hello there", "b": ""}, "a", "en")
    assert written(rows[1]) == ["", ""]
    assert all(cell.differs for cell in rows[1][1])


def test_chinese_stands_character_by_character():
    rows = columns({"a": "你好世界", "b": "你好 视界"}, "a", "zh")
    assert [cell.differs for cell in rows[1][1]] == [False, False, True, False]


@pytest.mark.parametrize(
    ("licence", "kind"),
    [
        ("MIT", "permissive"),
        ("MIT OR GPL-3.0", "permissive"),
        ("Apache-2.0 AND GPL-3.0-only", "share-alike"),
        ("MIT, BSD-2-Clause (CMUdict and trigrams)", "permissive"),
        ("CC0-1.0", "public domain"),
        ("CC-BY-4.0", "attribution"),
        ("CC-BY-SA-4.0", "share-alike"),
        ("CC-BY-NC-4.0", "non-commercial"),
        ("cc-by-nc-sa-4.0", "non-commercial"),
        ("Our own licence", "unknown: read it"),
        ("", "unknown: read it"),
    ],
)
def test_licences_are_ranked_by_what_they_ask(licence: str, kind: str):
    assert rank(licence)[1] == kind


def test_the_lineage_counts_weights_and_leaves_out_models_that_touch_no_text():
    def model(licence, weights):
        return {"model": "m", "licence": licence, "weights": [{"licence": w} for w in weights]}

    found = lineage(
        {
            "denoise/d": model("CC-BY-NC-4.0", []),
            "transcribe/a": model("MIT", ["CC-BY-NC-4.0"]),
            "transcribe/b": model("Apache-2.0", []),
            "punctuate/p": model("CC-BY-4.0", []),
        }
    )
    assert [each.name for each in found] == ["transcribe/a", "punctuate/p", "transcribe/b"]
    assert found[0].licence == "CC-BY-NC-4.0"


def test_a_stratum_ends_with_its_upper_edge():
    assert pwer_stratum(0.0) == "pWER 0 %"
    assert pwer_stratum(0.05) == "pWER 0 to 5 %"
    assert pwer_stratum(0.051) == "pWER 5 to 10 %"
    assert pwer_stratum(0.9) == "pWER above 50 %"


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(0, 200))
def test_shares_are_even_and_never_more_than_there_is(sizes, total):
    shares = even_shares(sizes, total)
    assert sum(shares) == min(total, sum(sizes))
    assert all(share <= size for share, size in zip(shares, sizes, strict=True))
    short = [share for share, size in zip(shares, sizes, strict=True) if share < size]
    assert not short or max(shares) - min(short) <= 1


def test_a_clip_comes_back_from_its_data_uri():
    time = np.arange(24000 * 2) / 24000
    tone = (0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    uri = mp3_data_uri(tone, 24000, 32000)
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert len(heard) / rate == pytest.approx(2.0, abs=0.15)
    spectrum = np.abs(np.fft.rfft(heard[:rate]))
    assert spectrum.argmax() == pytest.approx(440, abs=2)
    assert len(uri) * 0.75 == pytest.approx(2 * 32000 / 8, rel=0.2)


@given(st.floats(0.1, LONGEST_TOTAL_S))
def test_clips_fit_the_budget(seconds):
    assert bits_per_second(seconds) * seconds / 8 <= BUDGET_BYTES
    assert bits_per_second(seconds) >= LEAST_BPS


@pytest.mark.parametrize("samples", [1, 10, 240, 24000])
def test_an_outline_has_as_many_points_however_short_the_clip(samples):
    path = outline(np.ones(samples, np.float32))
    assert path.startswith("M0 ")
    assert path.count("L") == 2 * OUTLINE_POINTS - 1


def test_bars_stack_up_to_the_count():
    chart = histogram("t", "x", "y", [0, 1, 2], [("a", [1, 2]), ("b", [3, 0])])
    first = [bar for bar in chart.bars if bar.x == 0]
    assert sum(bar.height for bar in first) == pytest.approx(100)
    assert chart.table == (("0 to 1", "1", "3"), ("1 to 2", "2", "0"))


@given(st.integers(0, 10**9))
def test_an_axis_ends_above_its_highest_bar_in_whole_steps(most):
    steps = y_steps(most)
    assert steps[-1] >= most
    assert 2 <= len(steps) <= 6
    assert all(float(step).is_integer() for step in steps)
