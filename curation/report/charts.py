"""Charts as geometry: bars in per cent of the plot, ticks with units. The template draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bar:
    """A bar of one bin; x, width, y and height in per cent, y from the top."""

    series: int
    x: float
    width: float
    y: float
    height: float
    title: str


@dataclass(frozen=True)
class Tick:
    """A label at a place of an axis, in per cent from its start."""

    at: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A histogram; `table` holds the same figures for those who do not see it."""

    title: str
    x_label: str
    y_label: str
    series: tuple[str, ...]
    bars: tuple[Bar, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    table: tuple[tuple[str, ...], ...]


def histogram(
    title: str,
    x_label: str,
    y_label: str,
    edges: Sequence[float],
    series: Sequence[tuple[str, Sequence[float]]],
    ticks: Sequence[float] | None = None,
    stacked: bool = True,
) -> Chart:
    """Bars over bins, stacked or side by side.

    `ticks` are the places that are labelled. Without them every edge is, and every bin has the same
    width whatever it spans, for edges that grow by factors.
    """
    bins = len(edges) - 1
    low, span = edges[0], edges[-1] - edges[0]
    if ticks is None:
        places = [100 * k / bins for k in range(bins + 1)]
        labelled = list(zip(places, edges, strict=True))
    else:
        places = [100 * (edge - low) / span for edge in edges]
        labelled = [(100 * (tick - low) / span, tick) for tick in ticks]
    counts = np.array([values for _, values in series])
    steps = y_steps(float((counts.sum(axis=0) if stacked else counts.max(axis=0)).max()))
    top = steps[-1]
    bars, table = [], []
    for k in range(bins):
        where = f"{_number(edges[k])} to {_number(edges[k + 1])}"
        table.append((where, *(_number(values[k]) for _, values in series)))
        base = 0.0
        width = places[k + 1] - places[k]
        for place, (name, values) in enumerate(series):
            height = 100 * values[k] / top
            if height:
                part = width if stacked else width / len(series)
                bars.append(
                    Bar(
                        series=place,
                        x=places[k] if stacked else places[k] + place * part,
                        width=part,
                        y=100 - base - height,
                        height=height,
                        title=f"{where}: {_number(values[k])} {name}",
                    )
                )
            base += height if stacked else 0.0
    return Chart(
        title=title,
        x_label=x_label,
        y_label=y_label,
        series=tuple(name for name, _ in series),
        bars=tuple(bars),
        x_ticks=tuple(Tick(at, _number(value)) for at, value in labelled),
        y_ticks=tuple(Tick(100 * step / top, _number(step)) for step in steps),
        table=tuple(table),
    )


def y_steps(most: float) -> list[float]:
    """Round numbers from 0 to at least `most`, about four of them."""
    if most <= 0:
        return [0.0, 1.0]
    rough = most / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    # Nobody counts half an utterance.
    step = max(step, 1.0) if float(most).is_integer() else step
    return [step * k for k in range(math.ceil(most / step) + 1)]


def _number(value: float) -> str:
    """Without needless decimals, thousands set off."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"
