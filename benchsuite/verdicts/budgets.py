"""How much worse a metric may get before it counts: non-inferiority margins per metric, dataset and cell.

A budget is `METRIC = AMOUNT`, or `METRIC@WHERE = AMOUNT` for one dataset or for cells by their name. METRIC is a
name, a glob, or a class of metrics (the keys of `DEFAULTS`). AMOUNT is `0.5%` of the base's value, `1pt` (a hundredth
of a share), a number in the metric's own unit, or `off`. The command line goes before `[tool.benchsuite.budgets]`, and
that before the defaults; within each, the narrower rule goes before the wider.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchsuite.errors import UnknownNameError, UsageError
from benchsuite.record import Cell, Items, Metric, Record, Rounds, Values, Windows

DEFAULTS = {
    "perplexity": "0.5%",  # from windows of log-likelihoods: bits per byte of an answer too
    "accuracy": "1pt",  # from right and wrong items, and other shares
    "divergence": "0.005",  # nats: what 0.5 % of perplexity is
    "score": "1%",  # any other figure an item
    "speed": "5%",  # from rounds of the clock
    "memory": "2%",  # the peak
    "size": "0",
}
# the windows of another metric once more, in other units: to gate them too would count one observation twice
SAME_WINDOWS = frozenset({"byte_perplexity", "bits_per_byte", "llama_cpp_perplexity"})
AMOUNT = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>%|pt)?")


@dataclass(frozen=True)
class Amount:
    """How much worse is still the same: a share of the base's value, or an amount in the metric's unit."""

    number: float
    relative: bool

    def margin(self, metric: Metric, *, ratio: bool) -> float:
        """The largest change of `metric` for the worse, 0 or more: ln(worse / base) of a ratio, else in its unit."""
        if self.relative and self.number >= 1 and metric.better == "higher":
            raise UsageError(f"a budget of {self}: what is better higher never falls by so much; name less, or 'off'")
        value = abs(metric.value)
        if not ratio:
            return self.number * value if self.relative else self.number
        share = self.number if self.relative else self.number / value if value else math.inf
        if metric.better == "higher":
            return -math.log1p(-share) if share < 1 else math.inf
        return math.log1p(share)

    def __str__(self) -> str:
        return f"{100 * self.number:g} %" if self.relative else f"{self.number:g}"


@dataclass(frozen=True)
class Rule:
    """One budget: which metrics of which cells, and how much (None: not gated)."""

    metric: str
    where: str
    amount: Amount | None

    def breadth(self, name: str, kind: str | None, cell: Cell) -> tuple[int, int] | None:
        """How wide this rule is, the narrowest being the smallest; None where it is for another metric or cell."""
        if self.metric == name:
            width = 0
        elif self.metric == kind:
            width = 2
        elif fnmatch.fnmatchcase(name, self.metric):
            width = 1
        else:
            return None
        if not self.where:
            return 2, width
        if self.where == cell.dataset:
            return 1, width
        return (0, width) if fnmatch.fnmatchcase(cell.label(), self.where) else None


@dataclass(frozen=True)
class Budgets:
    """All rules; those of the command line go before the settings, and those before the defaults."""

    command_line: tuple[Rule, ...]
    settings: tuple[Rule, ...]
    defaults: tuple[Rule, ...]

    def amount(self, name: str, metric: Metric, cell: Cell) -> Amount | None:
        """The budget of a metric; None where it is not gated."""
        if metric.better is None:
            return None
        kind = metric_class(name, metric)
        for rules in (self.command_line, self.settings, self.defaults):
            fitting = [(breadth, rule) for rule in rules if (breadth := rule.breadth(name, kind, cell))]
            if fitting:
                return min(fitting, key=lambda pair: pair[0])[1].amount
        return None

    def names(self, name: str, metric: Metric, cell: Cell) -> bool:
        """Whether a rule of the command line gates this metric."""
        kind = metric_class(name, metric)
        return any(rule.amount and rule.breadth(name, kind, cell) for rule in self.command_line)

    def check_used(self, records: Iterable[Record]) -> None:
        """Raise UsageError for a rule of the command line that fits no metric (a misspelt gate gates nothing), and for
        an amount that a metric cannot lose."""
        records = list(records)
        gated = _gated(records)
        for rule in self.command_line:
            if not any(rule.breadth(*metric) for metric in gated):
                # those without a good direction, which nothing gates, are known by name
                names = sorted({name for record in records for name in record.metrics} | DEFAULTS.keys())
                if rule.metric not in names:
                    raise UnknownNameError("metric of this comparison in --budget", rule.metric, names)
                where = f"@{rule.where}: no cell or dataset" if rule.where else ": no metric that can get worse"
                raise UsageError(f"--budget {rule.metric}{where} of this comparison fits")
        for record in records:
            for name, metric in record.metrics.items():
                if amount := self.amount(name, metric, record.cell):
                    amount.margin(metric, ratio=False)

    def unused_settings(self, records: Iterable[Record]) -> list[str]:
        """Keys of `[tool.benchsuite.budgets]`, classes apart, that gate nothing here: another run's, or misspelt."""
        gated = _gated(records)
        return [
            f"{rule.metric}@{rule.where}" if rule.where else rule.metric
            for rule in self.settings
            if (rule.where or rule.metric not in DEFAULTS) and not any(rule.breadth(*metric) for metric in gated)
        ]


def _gated(records: Iterable[Record]) -> list[tuple[str, str | None, Cell]]:
    """Name, class and cell of every metric that can get worse."""
    return [
        (name, metric_class(name, metric), record.cell)
        for record in records
        for name, metric in record.metrics.items()
        if metric.better
    ]


def metric_class(name: str, metric: Metric) -> str | None:
    """Which of the `DEFAULTS` a metric falls under; None for a figure that nothing gates unless a budget names it."""
    evidence = metric.evidence
    if name in SAME_WINDOWS:
        return None
    if isinstance(evidence, Windows):
        return "perplexity"
    if isinstance(evidence, Rounds):
        return "speed"
    if isinstance(evidence, Items) or (isinstance(evidence, Values) and metric.unit == "share"):
        return "accuracy"
    if isinstance(evidence, Values):
        return "divergence" if metric.unit.startswith("nat") else "score"
    if metric.unit == "B" and "memory" in name:
        return "memory" if name.startswith("peak") else None
    if metric.unit == "B":
        return "size"
    return None


def make_budgets(command_line: Sequence[str] = (), settings: Mapping[str, Any] | None = None) -> Budgets:
    """Budgets from `--budget METRIC[@WHERE]=AMOUNT`, the table `[tool.benchsuite.budgets]` and the defaults.

    Raises UsageError for what is no budget.
    """
    if not isinstance(settings, Mapping | None):
        raise UsageError(f"[tool.benchsuite.budgets] is to be a table such as perplexity = '0.5%', not {settings!r}")
    return Budgets(
        command_line=tuple(_rule(*_split(text), "--budget") for text in command_line),
        settings=tuple(_rule(key, value, "[tool.benchsuite.budgets]") for key, value in (settings or {}).items()),
        defaults=tuple(_rule(key, value, "DEFAULTS") for key, value in DEFAULTS.items()),
    )


def _split(text: str) -> tuple[str, str]:
    key, sign, amount = text.rpartition("=")
    if not sign or not key:
        raise UsageError(f"--budget {text!r}: wanted METRIC=AMOUNT or METRIC@WHERE=AMOUNT, such as perplexity=0.5%")
    return key, amount


def _rule(key: str, value: Any, source: str) -> Rule:
    metric, _, where = (part.strip() for part in key.partition("@"))
    if value == "off":
        return Rule(metric, where, None)
    match = AMOUNT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match:
        number, unit = float(match["number"]), match["unit"]
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        number, unit = float(value), None
    else:
        raise UsageError(f"{source}, {key}: wanted an amount such as '0.5%', '1pt', 0 or 'off', found {value!r}")
    return Rule(metric, where, Amount(number / 100 if unit else number, relative=unit == "%"))
