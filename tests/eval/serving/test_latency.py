"""Figures under load: what they are made of, and where they may be taken."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from rich.console import Console

from gpa.eval.serving.latency import (
    LatencyConfig,
    Loads,
    Measured,
    Row,
    Spread,
    Timing,
    local_server,
    run,
    tables,
)
from gpa.runtime.errors import UserError


def spoken(first_s: float, total_s: float, audio_s: float) -> Timing:
    return Timing("tts", first_s, total_s, audio_s)


FAILED = Timing("tts", None, 9.0, 0.0, "503 all places are taken")


def test_spread_by_hand():
    spread = Spread.of([1.0, 2.0, 3.0, 10.0])
    assert spread == Spread(4.0, 2.5, pytest.approx(3 + 0.97 * 7))
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0)
    assert Spread.of([]) is None


def test_the_real_time_factor_is_time_over_speech():
    row = Row.of(2, [spoken(0.1, 1.0, 2.0), spoken(0.3, 1.0, 4.0)], elapsed_s=1.5)
    assert row.rtf == Spread(0.375, 0.375, pytest.approx(0.4975))
    assert (row.first_s.mean, row.audio_s) == (pytest.approx(0.2), 3.0)


def test_failures_are_counted_and_in_no_other_figure():
    row = Row.of(3, [spoken(0.1, 1.0, 2.0), FAILED, FAILED], elapsed_s=9)
    assert (row.requests, row.failed, row.errors) == (3, 2, (FAILED.error,))
    assert row.total_s == Spread(1.0, 1.0, 1.0)


def test_tables_have_the_columns_of_the_paper():
    row = Row.of(5, [spoken(0.1234, 1.0, 2.0)], elapsed_s=2.0)
    heard = Row.of(5, [Timing("asr", 0.05, 0.5, 0.0)], elapsed_s=2.0)
    lost = Row.of(80, [FAILED], elapsed_s=9.0)
    text = tables(
        Measured(
            trained=False,
            text="",
            tasks={
                "asr": Loads([heard], heard),
                "tts": Loads([row, lost], row),
                "vc": Loads([row], row),
            },
        )
    )
    assert "random tokenizer" in text
    synthesis, _, rest = text.partition("## Conversion")
    assert (
        "| concurrent requests | mean TTFC ms | P50 TTFC ms | P99 TTFC ms "
        "| mean RTF | P50 RTF | P99 RTF | audio s | failed |"
    ) in synthesis
    assert "| 5 | 123.4 | 123.4 | 123.4 | 0.500 | 0.500 | 0.500 | 2.00 | 0 |" in synthesis
    assert "| 80 | - | - | - | - | - | - | 0.00 | 1 |" in synthesis
    assert "| 5 | 50.0 | 50.0 | 50.0 | 500.0 | 0 |" in rest
    assert "1 of 1 requests answered in 2.0 s, which is 0.50 requests, 1.00 s of speech" in text


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost:1", "http://[::1]:8000", "http://127.9.9.9"]
)
def test_loopback_is_measured(url: str):
    assert str(local_server(url)).startswith(url)


@pytest.mark.parametrize(
    "url",
    ["http://192.0.2.1:8000", "http://example.org", "https://127.0.0.1", "127.0.0.1:8000", "http://",
     "http://127.0.0.1.example.org", "ftp://localhost", ""],
)  # fmt: skip
def test_nothing_else_is(url: str):
    with pytest.raises(UserError):
        local_server(url)


def test_without_a_server_it_says_how_to_start_one(tmp_path: Path):
    (tmp_path / "voice.wav").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(UserError, match="No `gpa serve` answers at"):
        run(url, tmp_path / "voice.wav", tmp_path / "out", LatencyConfig(), Console())
    assert not (tmp_path / "out").exists()
