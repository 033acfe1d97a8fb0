"""What a verdict says is missing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from benchsuite.record import Record
from benchsuite.verdicts import judge as judge_module
from benchsuite.verdicts.budgets import make_budgets
from benchsuite.verdicts.judge import decide

MakeRun = Callable[..., list[Record]]


class Skewed:
    """An effect that lies beyond the budget, with an interval that reaches far to the good side and hardly further."""

    value = 0.2

    def p_at_most(self, bound: float) -> float:
        return 0.1 if bound > 0 else 0.05

    def p_at_least(self, bound: float) -> float:
        return 0.9 if bound < 1 else 1.0

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        return (-0.05, 0.21) if level >= 0.9 else (0.0, 0.2)


def test_what_a_worse_looking_speed_lacks_is_counted_to_the_near_end(make_run: MakeRun) -> None:
    metric = make_run(rounds=8)[0].metrics["tokens_per_s"]
    metric = dataclasses.replace(metric, unit="s", better="lower")
    [budget] = [rule.amount for rule in make_budgets(["x=5%"]).layers[0]]
    cell = make_run()[0].cell
    verdict = decide(judge_module.Test(cell, "x", metric, metric, budget, Skewed(), ratio=True), 0.05, 1.0, 1.0)
    reach, distance = 0.25, 0.2 - math.log(1.05)
    more = math.ceil(8 * (reach / distance) ** 2) - 8
    assert (verdict.outcome, verdict.reason) == ("cannot tell", f"about {more} more rounds")
    assert more == 14
