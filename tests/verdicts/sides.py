"""Two runs as the sides of a comparison, and what it said of each metric."""

from __future__ import annotations

from typing import Any

from benchsuite.record import Record
from benchsuite.verdicts.budgets import make_budgets
from benchsuite.verdicts.compare import Comparison, Policy, compare

Run = list[Record]


def compared(base: Run, head: Run, *budgets: str, **policy: Any) -> Comparison:
    sides = [{record.cell.key(): record for record in run} for run in (base, head)]
    return compare(sides[0], sides[1], Policy(make_budgets(budgets), **policy))


def outcomes(comparison: Comparison) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for verdict in comparison.verdicts:
        found.setdefault(verdict.metric, set()).add(verdict.outcome)
    return found
