"""What a pair of metrics says: better, same, worse, or cannot tell.

A *loss* is a change for the worse, whatever the metric's good direction: ln(head / base) where a ratio is meant, else
head - base in the metric's unit, turned so that more is worse. It is

- worse        where the loss is beyond the budget, after Holm's correction over all gated tests of the run;
- better       where it is beyond zero on the good side, after the same correction;
- same         where the whole interval lies inside the budget;
- cannot tell  where the interval straddles the budget.

A change that is certain and still inside its budget is the same, and has `moved`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchsuite import stats
from benchsuite.record import Cell, Items, Metric, Rounds, Values, Windows
from benchsuite.stats import ClusteredMean, two_sided
from benchsuite.verdicts.budgets import Amount, metric_class

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from benchsuite.stats import Effect, Interval, RunNoise

Outcome = Literal["better", "same", "worse", "cannot tell", "not gated", "not compared", "not comparable", "missing"]
TIMED = ("s", "tok/s", "samples/s", "FLOP/s")  # units of figures that are never exact
SHARES = ("share", "F1")  # units of figures between 0 and 1
FEWEST_ROUNDS = 8  # a side: with fewer, the exact test cannot pass a correction for many cells


@dataclass(frozen=True)
class Verdict:
    """One metric of one cell; `metric` is empty where the verdict is on the whole cell."""

    cell: Cell
    metric: str
    outcome: Outcome
    reason: str = ""
    base: Metric | None = None
    head: Metric | None = None
    ratio: bool = False  # `change` and `interval` are shares of the base, not amounts in the metric's unit
    change: float | None = None
    interval: tuple[float, float] | None = None
    budget: Amount | None = None
    p_value: float | None = None  # two-sided, of "no worse than the budget"; of "nothing changed" where it is better
    p_corrected: float | None = None  # the same after the correction for all gated tests
    moved: bool = False  # the change is certain, whatever the budget says

    @property
    def label(self) -> str:
        """The cell and the metric, for people."""
        return f"{self.cell.label()} {self.metric}".strip()


@dataclass(frozen=True)
class Test:
    """A pair of metrics that only statistics can judge."""

    cell: Cell
    metric: str
    base: Metric
    head: Metric
    budget: Amount | None
    effect: Effect
    ratio: bool
    noise: RunNoise | None = None

    @property
    def sign(self) -> int:
        """1 where more is worse, -1 where less is."""
        return -1 if self.base.better == "higher" else 1

    @property
    def margin(self) -> float:
        """The largest loss that the budget allows."""
        return self.budget.margin(self.base, ratio=self.ratio) if self.budget else math.inf

    @property
    def p_value(self) -> float:
        """Two-sided p-value of "the loss is no larger than the budget"."""
        one_sided = self.effect.p_at_most(self.margin) if self.sign > 0 else self.effect.p_at_least(-self.margin)
        return min(1.0, 2 * one_sided)

    @property
    def smallest_p(self) -> float:
        """The smallest two-sided p-value that so many rounds can have (0 for other evidence)."""
        one, other = self.base.evidence, self.head.evidence
        if not isinstance(one, Rounds) or not isinstance(other, Rounds):
            return 0.0
        return 2 / math.comb(len(one.seconds) + len(other.seconds), len(one.seconds))

    @property
    def p_no_change(self) -> float:
        """Two-sided p-value of "nothing changed"."""
        return two_sided(self.effect)


def judge(
    cell: Cell,
    name: str,
    base: Metric,
    head: Metric,
    budget: Amount | None,
    noise: RunNoise | None,
    *,
    same_outputs: bool = True,
) -> Verdict | Test:
    """The verdict where arithmetic is enough (exact figures, too few rounds), else the test to make.

    `same_outputs` says whether all of the cell is equal on both sides, and not only what this metric sees of it.
    """
    verdict = Verdict(cell, name, "same" if budget else "not gated", base=base, head=head, budget=budget)
    if reason := _cannot_be_paired(base, head):
        return replace(verdict, outcome="not comparable", reason=reason)
    if base.evidence is None or head.evidence is None:
        known = noise if noise and noise.standard_deviation else None  # runs that were all equal tell no spread
        if known and metric_class(name, base) == "memory" and min(base.value, head.value) > 0:
            return Test(cell, name, base, head, budget, _gauged_effect(base, head, known), True, known)
        return _exact(verdict, base, head)
    effect, ratio = _effect(base, head, noise)
    if same_evidence(base, head):
        may_flip = not same_outputs and (isinstance(base.evidence, Items) or base.unit in SHARES)
        return Test(cell, name, base, head, budget, _no_flip(base) if may_flip else _no_effect(), ratio)
    if isinstance(base.evidence, Rounds) and isinstance(head.evidence, Rounds):
        fewest = min(len(base.evidence.seconds), len(head.evidence.seconds))
        if fewest < FEWEST_ROUNDS:
            reason = f"{counted(FEWEST_ROUNDS - fewest, 'more round')} a side"
            outcome: Outcome = "cannot tell" if budget else "not gated"
            return replace(verdict, outcome=outcome, reason=reason, ratio=True, change=math.expm1(effect.value))
    return Test(cell, name, base, head, budget, effect, ratio, noise)


def surely_differs(base: Metric, head: Metric) -> bool:
    """Whether the 95 % interval of the paired change leaves out no change; True for figures without evidence."""
    if base.evidence is None or head.evidence is None or _cannot_be_paired(base, head):
        return True
    low, high = _effect(base, head, None)[0].interval()
    return not low <= 0 <= high


def decide(test: Test, alpha: float, p_corrected: float, p_no_change: float) -> Verdict:
    """The verdict of a test at the level `alpha`, its two p-values having been corrected for all tests of the run."""
    low, high = test.effect.interval(1 - alpha)
    ends = (low, high) if test.sign > 0 else (-high, -low)
    loss, p_value = test.sign * test.effect.value, test.p_value
    moved = p_no_change <= alpha
    outcome: Outcome
    reason = ""
    if test.budget is None:
        outcome = "not gated"
    elif p_corrected <= alpha and loss > test.margin:
        outcome = "worse"
    elif moved and loss < 0:
        outcome, p_value, p_corrected = "better", test.p_no_change, p_no_change
    elif ends[1] <= test.margin:
        outcome, reason = "same", "a real change, inside the budget" if moved else ""
    elif p_value <= alpha and loss > test.margin:
        outcome, reason = "cannot tell", "beyond the budget on its own, not after the correction for all tests"
    else:
        outcome, reason = "cannot tell", _what_is_missing(test, loss, ends, alpha)
    shown = (lambda x: math.expm1(min(x, 700.0))) if test.ratio else (lambda x: x)
    interval = (shown(low), shown(high)) if math.isfinite(low) and math.isfinite(high) else None
    return Verdict(
        test.cell, test.metric, outcome, reason, test.base, test.head, test.ratio, shown(test.effect.value), interval,
        test.budget, p_value, p_corrected, moved,
    )  # fmt: skip


def _no_effect() -> Effect:
    """What equal evidence shows: no change, certainly."""
    return ClusteredMean(0.0, 0.0, 1.0)


def _no_flip(base: Metric) -> Effect:
    """What equal outcomes of n items show where the model's outputs differ: in other items one may flip."""
    assert isinstance(base.evidence, Items | Values)
    items = base.evidence.outcomes if isinstance(base.evidence, Items) else base.evidence.values
    right = np.ones(len(items), dtype=bool)
    return stats.paired_proportion(right, right)


def _gauged_effect(base: Metric, head: Metric, noise: RunNoise) -> Effect:
    """The log ratio of two peaks of memory, each gauged once a run, on a machine whose noise is known."""
    return ClusteredMean(math.log(head.value / base.value), noise.standard_deviation, noise.df)


def _effect(base: Metric, head: Metric, noise: RunNoise | None) -> tuple[Effect, bool]:
    """The change of a metric in its own direction, and whether it is a ratio; the two fit each other."""
    one, other = base.evidence, head.evidence
    if isinstance(one, Items) and isinstance(other, Items):
        return stats.paired_proportion(one.outcomes, other.outcomes), False
    if isinstance(one, Values) and isinstance(other, Values):
        return stats.mean_difference(one.values, other.values, one.cluster, one.sizes), False
    if isinstance(one, Rounds) and isinstance(other, Rounds):
        figures = [rounds.seconds / rounds.work for rounds in (one, other)]
        if base.better == "higher":
            figures = [1 / seconds for seconds in figures]
        return stats.log_ratio(figures[0], figures[1], noise), True
    assert isinstance(one, Windows)
    assert isinstance(other, Windows)
    if base.unit.startswith("bits"):
        bits = [windows.log_likelihood / math.log(2) for windows in (one, other)]
        return stats.loss_difference(bits[0], bits[1], one.tokens, one.cluster), False
    return stats.loss_difference(one.log_likelihood, other.log_likelihood, one.tokens, one.cluster), True


def _exact(verdict: Verdict, base: Metric, head: Metric) -> Verdict:
    """Bytes and other figures without spread: any change is shown, a loss beyond the budget is worse."""
    difference = head.value - base.value
    ratio = base.value != 0
    if base.unit in TIMED and verdict.budget is not None:
        reason = "it keeps no rounds of its own; gate tokens_per_s, which is the same clock"
        change = difference / base.value if ratio else difference
        return replace(verdict, outcome="cannot tell", reason=reason, ratio=ratio, change=change)
    moved = difference != 0
    verdict = replace(verdict, ratio=ratio, change=difference / base.value if ratio else difference, moved=moved)
    if verdict.budget is None:
        return verdict
    loss = -difference if base.better == "higher" else difference
    margin = verdict.budget.margin(base, ratio=False)
    # a peak of memory is gauged once and varies by pages: a fall inside the budget proves no more than a rise does
    gain = margin if metric_class(verdict.metric, base) == "memory" else 0.0
    if loss > margin * (1 + 1e-12):
        return replace(verdict, outcome="worse")
    if -loss > gain * (1 + 1e-12):
        return replace(verdict, outcome="better")
    return replace(verdict, outcome="same", reason="a change inside the budget" if moved else "")


def _cannot_be_paired(base: Metric, head: Metric) -> str:
    one, other = base.evidence, head.evidence
    if type(one) is not type(other):
        return "the two sides hold different kinds of evidence"
    if (base.unit, base.better) != (head.unit, head.better):
        return f"the unit differs: {base.unit}, {base.better} is better, and {head.unit}, {head.better} is better"
    if isinstance(one, Items) and isinstance(other, Items) and len(one.outcomes) != len(other.outcomes):
        return f"{len(one.outcomes)} items and {len(other.outcomes)} items do not pair"
    if isinstance(one, Values) and isinstance(other, Values):
        same = np.array_equal(one.cluster, other.cluster) and _equal(one.sizes, other.sizes)
        return "" if same else "the items of the two sides do not pair, or one side does not say what each weighs"
    if isinstance(one, Windows) and isinstance(other, Windows):
        same = np.array_equal(one.tokens, other.tokens) and np.array_equal(one.cluster, other.cluster)
        return "" if same else "the windows of the two sides do not pair"
    return ""


def same_evidence(base: Metric, head: Metric) -> bool:
    """Whether the evidence of two metrics is of one kind and equal to the last bit."""
    if type(base.evidence) is not type(head.evidence) or base.evidence is None:
        return False
    one, other = vars(base.evidence), vars(head.evidence)
    return all(_equal(one[name], other[name]) for name in one)


def _equal(one: ArrayLike | None, other: ArrayLike | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


def _what_is_missing(test: Test, loss: float, ends: Interval, alpha: float) -> str:
    """How much more of the same evidence would decide, if the best guess stays what it is."""
    from scipy import special

    n, unit = _amount_of_evidence(test.base, test.head)
    if test.base.evidence is None:
        return "peaks of memory differ so much from run to run; more runs are needed (`benchsuite ab`)"
    if n < 2 or not (math.isfinite(ends[0]) and math.isfinite(ends[1])):
        return f"one {unit} has no spread; more {unit}s are needed"
    reach = loss - ends[0] if loss > test.margin else ends[1] - loss  # of the interval, towards the budget
    distance, noise = abs(test.margin - loss), 0.0
    if test.noise and test.noise.standard_deviation:
        noise = test.noise.standard_deviation * float(special.stdtrit(test.noise.df, 1 - alpha / 2))
    if distance == 0:
        return f"the change is the budget itself; more {unit}s are needed"
    if distance <= noise:
        return (
            f"the machine's noise of ±{100 * math.expm1(noise):.1f} % hides it; more runs are needed (`benchsuite ab`)"
        )
    more = math.ceil(n * max(reach**2 - noise**2, 0.0) / (distance**2 - noise**2)) - n
    return f"about {counted(min(max(more, 1), 100_000), f'more {unit}')}"


def _amount_of_evidence(base: Metric, head: Metric) -> tuple[int, str]:
    one, other = base.evidence, head.evidence
    if isinstance(one, Rounds) and isinstance(other, Rounds):
        return min(len(one.seconds), len(other.seconds)), "round"
    if isinstance(one, Items):
        return len(one.outcomes), "item"
    clusters = len(np.unique(one.cluster)) if isinstance(one, Windows | Values) else 0
    return clusters, "document"


def counted(n: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "run"), counted(1200, "more round")
    ('1 run', '1,200 more rounds')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
