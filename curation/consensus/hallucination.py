"""Hallucination checks: what no speaker said, by the text and the clock alone.

Recognisers loop, and invent sentences for noise, with high confidence (PEERS: a hundredfold
loop at an average log probability of -0.035), so confidence is not asked. All rules count
agreement units, hence hold for Chinese as for English. A hypothesis that fails one is struck from
the vote; where too few are left for a vote the utterance is dropped.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from gpa.curation.text.units import is_character
from gpa.runtime.config import Config


class HallucinationConfig(Config):
    """Limits of what a person says; beyond them a hypothesis is struck."""

    # A loop: a phrase said this often in a row, over at least this many units in all.
    loop_repeats: int = Field(5, ge=2)
    loop_units: int = Field(10, ge=2)
    # Size of the text against its zlib size, one 16-bit symbol a unit: catches broken loops.
    max_compression_ratio: float = Field(2.0, gt=1.0)
    # The fastest speech: letters of words, and characters of scripts without spaces.
    max_letters_per_s: float = Field(30.0, gt=0)
    max_characters_per_s: float = Field(12.0, gt=0)
    # The slowest, once `pause_allowance_s` of the clip is forgiven.
    min_letters_per_s: float = Field(1.5, gt=0)
    min_characters_per_s: float = Field(0.5, gt=0)
    pause_allowance_s: float = Field(2.0, ge=0)


@dataclass(frozen=True)
class Hallucination:
    """Why a hypothesis is not believed, and the number that decided."""

    reason: str  # "loop", "compression", "too_fast", "too_slow"
    value: float


def find_hallucination(
    units: Sequence[str], duration_s: float, config: HallucinationConfig
) -> Hallucination | None:
    """The first rule that the hypothesis breaks, None for believable text and for silence."""
    if not units:
        return None
    repeats = longest_loop(units, config.loop_units)
    if repeats >= config.loop_repeats:
        return Hallucination("loop", float(repeats))
    ratio = compression_ratio(units)
    if ratio > config.max_compression_ratio:
        return Hallucination("compression", ratio)
    characters = sum(map(is_character, units))
    letters = sum(len(unit) for unit in units if not is_character(unit))
    fastest_s = letters / config.max_letters_per_s + characters / config.max_characters_per_s
    if fastest_s > duration_s:
        return Hallucination("too_fast", (letters + characters) / duration_s)
    slowest_s = letters / config.min_letters_per_s + characters / config.min_characters_per_s
    if slowest_s + config.pause_allowance_s < duration_s:
        return Hallucination("too_slow", (letters + characters) / duration_s)
    return None


def longest_loop(units: Sequence[str], least_units: int = 1) -> int:
    """How often a phrase is said in a row, at most; loops under `least_units` units don't count.

    "no no no no" has 4; any text without an immediate repetition has 1.
    """
    most = 1
    count = len(units)
    for period in range(1, count // 2 + 1):
        run = 0
        for index in range(count - period):
            run = run + 1 if units[index] == units[index + period] else 0
            if run + period >= least_units:
                most = max(most, (run + period) // period)
    return most


def compression_ratio(units: Sequence[str]) -> float:
    """Bytes before and after zlib, with each distinct unit as one 16-bit symbol.

    Symbols and not UTF-8 bytes, since there the limit would mean another thing in each script.
    """
    ids: dict[str, int] = {}
    symbols = array("H", [ids.setdefault(unit, len(ids)) % 65536 for unit in units]).tobytes()
    return len(symbols) / len(zlib.compress(symbols, 9))
