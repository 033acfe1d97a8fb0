"""The noise floor of a machine for people: how far runs lie apart, and what slowdown will be found."""

from __future__ import annotations

import math

from benchsuite.report.columns import aligned
from benchsuite.stats import Design
from benchsuite.verdicts.noise import NoiseFloor, Spread

HEADINGS = (
    "measurement",
    "between runs",
    "within a run",
    "8 rounds",
    "20 rounds",
    "50 rounds",
    "ab, 4 runs",
    "ab, 8 runs",
)
DESIGNS = ((8, 1), (20, 1), (50, 1), (8, 4), (8, 8))  # rounds, runs a side


def noise_table(floor: NoiseFloor) -> str:
    """A row per kind of measurement: its spreads, then the smallest slowdown that 9 of 10 comparisons will find."""
    rows = [HEADINGS, *(_row(name, spread) for name, spread in sorted(floor.spreads.items()))]
    lines = [
        *aligned(rows, left=1),
        "",
        "From the third number on: the smallest slowdown that 9 of 10 comparisons tell from no change, by rounds of",
        "the one run a side that `benchsuite compare` sees, or by runs of `benchsuite ab`. A budget comes on top of",
        "it, and so does the correction where many cells are gated.",
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, spread: Spread) -> tuple[str, ...]:
    found = [
        Design(spread.between, spread.within, spread.df, spread.rounds, rounds, runs).smallest()
        for rounds, runs in DESIGNS
    ]
    return (name, _percent(spread.between), _percent(spread.within), *map(_percent, found))


def _percent(log_ratio: float) -> str:
    percent = 100 * math.expm1(min(log_ratio, 10.0))
    return f"{percent:,.0f} %" if percent >= 99.5 else f"{percent if percent > 1e-3 else 0:.2g} %"
