"""How wrong a kept text is expected to be, by what `gpa calibrate` has measured.

A calibration holds the WER of labels that could be judged against the truth, by pWER and length,
each cell with its 95 % interval. It is a number for people: it orders utterances no better than pWER
does (docs/panel.md), so nothing is kept or dropped by it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pydantic import Field

from gpa.runtime.config import Config, parse, read_json


class Cell(Config):
    """WER of the labels with a pWER and a length between these; both upper edges are within.

    The first cell of a row of pWER begins below 0, so that full agreement is a cell of its own.
    """

    pwer_above: float
    pwer_to: float
    longer_than_s: float = Field(ge=0)
    to_s: float | None  # None: any that is longer
    value: float = Field(ge=0)
    low: float = Field(ge=0)
    high: float = Field(ge=0)
    count: int = Field(ge=1)  # of labels that were judged

    def holds(self, pwer: float, duration_s: float) -> bool:
        """Whether an utterance of that pWER and length is one of these."""
        return self.pwer_above < pwer <= self.pwer_to and self.longer_than_s < duration_s <= (
            math.inf if self.to_s is None else self.to_s
        )


class Calibration(Config):
    """Cells that don't overlap; what lies in none is not known."""

    cells: tuple[Cell, ...] = Field(min_length=1)

    def expected(self, pwer: float | None, duration_s: float) -> dict[str, Any] | None:
        """`value`, `low`, `high` and the `count` of labels behind them, None where not known."""
        if pwer is None:
            return None
        for cell in self.cells:
            if cell.holds(pwer, duration_s):
                return cell.model_dump(include={"value", "low", "high", "count"})
        return None


def read_calibration(file: Path) -> Calibration:
    """What `gpa calibrate OUT --truth DIR --json FILE` wrote; raises UserError for anything else."""
    content = read_json(file)
    where = f"{file}, which `gpa calibrate OUT --truth DIR --json FILE` should have written"
    return parse(Calibration, {"cells": content.get("expected_wer", [])}, where)
