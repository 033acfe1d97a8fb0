"""What is said of one metric of one cell: better, worse, the same or not to be told, and what is missing."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest

from benchsuite.evals.evaluation import mean_of_windows, share
from benchsuite.record import Better, Cell, Metric, Record, Rounds
from benchsuite.stats import ClusteredMean
from benchsuite.verdicts import judge as judge_module
from benchsuite.verdicts.budgets import Amount, make_budgets
from benchsuite.verdicts.judge import decide
from benchsuite.verdicts.noise import NoiseFloor, Spread, kind
from tests.verdicts.sides import compared, outcomes

Run = list[Record]
MakeRun = Callable[..., Run]


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
    [budget] = [rule.amount for rule in make_budgets(["x=5%"]).command_line]
    cell = make_run()[0].cell
    verdict = decide(judge_module.Test(cell, "x", metric, metric, budget, Skewed(), ratio=True), 0.05, 1.0, 1.0)
    reach, distance = 0.25, 0.2 - math.log(1.05)
    more = math.ceil(8 * (reach / distance) ** 2) - 8
    assert (verdict.outcome, verdict.reason) == ("cannot tell", f"about {more} more rounds")
    assert more == 14


def test_a_change_inside_its_budget_is_the_same_and_has_moved(make_run: MakeRun) -> None:
    base, head = make_run(), make_run(loss=0.001)
    verdict = next(v for v in compared(base, head).verdicts if v.metric == "perplexity")
    assert (verdict.outcome, verdict.moved) == ("same", True)
    assert verdict.interval is not None
    assert verdict.interval[0] < math.expm1(0.001) < verdict.interval[1] < 0.005
    assert outcomes(compared(base, head, "perplexity=0"))["perplexity"] == {"worse"}


def test_an_interval_that_straddles_the_budget_cannot_tell_and_says_how_much_more_is_needed(make_run: MakeRun) -> None:
    comparison = compared(make_run(0, cells=1, rounds=8), make_run(5, cells=1, rounds=8, slowdown=1.06))
    verdict = next(v for v in comparison.verdicts if v.metric == "tokens_per_s")
    assert verdict.outcome == "cannot tell"
    assert "more rounds" in verdict.reason
    assert comparison.exit_status == 0


def test_fewer_than_eight_rounds_cannot_tell_and_the_verdict_says_how_many_more(make_run: MakeRun) -> None:
    comparison = compared(make_run(0, rounds=20), make_run(1, rounds=5, slowdown=2.0))
    speeds = [v for v in comparison.verdicts if v.metric == "tokens_per_s"]
    assert {(v.outcome, v.reason) for v in speeds} == {("cannot tell", "3 more rounds a side")}


def test_a_latency_and_a_throughput_of_the_same_rounds_agree(make_run: MakeRun) -> None:
    def with_latency(run: Run) -> Run:
        def latency(record: Record) -> dict[str, Metric]:
            evidence = record.metrics["tokens_per_s"].evidence
            assert isinstance(evidence, Rounds)
            metric = Metric(float(np.median(evidence.seconds)), "s", "lower", evidence=Rounds(evidence.seconds, 1.0))
            return {"latency_s": metric, "tokens_per_s": record.metrics["tokens_per_s"]}

        return [dataclasses.replace(record, metrics=latency(record)) for record in run]

    comparison = compared(with_latency(make_run(0, cells=1)), with_latency(make_run(1, cells=1, slowdown=1.25)))
    latency, throughput = comparison.verdicts
    assert latency.outcome == throughput.outcome == "worse"
    assert latency.change is not None
    assert throughput.change is not None
    assert (1 + latency.change) * (1 + throughput.change) == pytest.approx(1)


def test_rounds_that_do_more_work_are_not_slower(make_run: MakeRun) -> None:
    def doubled(record: Record) -> Record:
        metric = record.metrics["tokens_per_s"]
        assert isinstance(metric.evidence, Rounds)
        rounds = Rounds(metric.evidence.seconds * 2, metric.evidence.work * 2)
        return dataclasses.replace(record, metrics={"tokens_per_s": dataclasses.replace(metric, evidence=rounds)})

    head = [doubled(record) for record in make_run(1)]
    base = [dataclasses.replace(r, metrics={"tokens_per_s": r.metrics["tokens_per_s"]}) for r in make_run(0)]
    assert outcomes(compared(base, head)) == {"tokens_per_s": {"same"}}


def test_evidence_that_does_not_pair_is_not_comparable(make_run: MakeRun) -> None:
    def cut(record: Record) -> Record:
        metrics = dict(record.metrics)
        metrics["perplexity"] = dataclasses.replace(metrics["kl"], unit="ppl")
        accuracy = metrics["accuracy"].evidence
        metrics["accuracy"] = dataclasses.replace(metrics["accuracy"], evidence=type(accuracy)(accuracy.outcomes[:-1]))
        metrics["weight_bytes"] = dataclasses.replace(metrics["weight_bytes"], unit="MiB")
        return dataclasses.replace(record, metrics=metrics)

    comparison = compared(make_run(), [cut(record) for record in make_run(1)])
    reasons = {v.metric: v.reason for v in comparison.of("not comparable")}
    assert set(reasons) == {"perplexity", "accuracy", "weight_bytes"}
    assert "100 items and 99 items" in reasons["accuracy"]
    assert comparison.exit_status == 3


def test_memory_that_falls_inside_its_budget_is_the_same_and_size_that_falls_is_better(make_run: MakeRun) -> None:
    head = make_run(1, peak_bytes=599_000_000, weight_bytes=999_999)
    found = outcomes(compared(make_run(), head))
    assert found["peak_memory_bytes"] == {"same"}
    assert found["weight_bytes"] == {"better"}


def test_equal_outcomes_are_certain_only_where_the_model_did_the_same(make_run: MakeRun) -> None:
    accuracy = next(v for v in compared(make_run(), make_run()).verdicts if v.metric == "accuracy")
    assert (accuracy.outcome, accuracy.interval) == ("same", (0.0, 0.0))
    accuracy = next(v for v in compared(make_run(), make_run(loss=1e-6)).verdicts if v.metric == "accuracy")
    assert accuracy.outcome == "cannot tell"
    assert accuracy.interval is not None
    assert accuracy.interval[0] < -0.02 < 0.02 < accuracy.interval[1]


def test_a_time_without_rounds_is_never_exact(make_run: MakeRun) -> None:
    verdicts = compared(make_run(0), make_run(1), "batch_latency_s=0").verdicts
    latency = [verdict for verdict in verdicts if verdict.metric == "batch_latency_s"]
    assert {verdict.outcome for verdict in latency} == {"cannot tell"}
    assert "gate tokens_per_s" in latency[0].reason


def test_peaks_that_did_not_spread_prove_no_gain(make_run: MakeRun) -> None:
    base, head = make_run(peak_bytes=600_000_000), make_run(peak_bytes=599_995_904)
    name = kind(base[0].cell, "peak_memory_bytes")
    comparison = compared(base, head, noise=lambda _: NoiseFloor("m", {name: Spread(0.0, 0.0, 4, 1)}))
    assert outcomes(comparison)["peak_memory_bytes"] == {"same"}


def divergence(figures: list[float], sizes: list[int]) -> Record:
    metric = mean_of_windows(
        [np.full(size, figure) for figure, size in zip(figures, sizes, strict=True)],
        np.arange(len(sizes)),
        "nats",
        "lower",
    )
    return Record(Cell("divergence", "tiny", "nf4-g64", "prose"), {"kl_mean": metric})


def test_a_change_of_windows_is_the_change_of_their_mean_whatever_their_sizes() -> None:
    base, head = (
        divergence([1.0, 1.5, 2.0, 9.0], [127, 127, 126, 1]),
        divergence([1.2, 1.8, 2.3, 1.0], [127, 127, 126, 1]),
    )
    (verdict,) = compared([base], [head]).verdicts
    assert verdict.change == pytest.approx(head.metrics["kl_mean"].value - base.metrics["kl_mean"].value)
    assert verdict.change > 0
    other = dataclasses.replace(
        head, metrics={"kl_mean": divergence([1.2, 1.8, 2.3, 1.0], [9, 9, 9, 9]).metrics["kl_mean"]}
    )
    assert outcomes(compared([base], [other])) == {"kl_mean": {"not comparable"}}


def test_equal_nats_are_the_same_whatever_else_the_cell_holds() -> None:
    base = divergence([1.0, 1.5], [100, 100])
    agreement = mean_of_windows([np.ones(100), np.zeros(100)], np.arange(2), "share", "higher")
    less = mean_of_windows([np.zeros(100), np.zeros(100)], np.arange(2), "share", "higher")
    sides = [dataclasses.replace(base, metrics={**base.metrics, "agreement": metric}) for metric in (agreement, less)]
    assert outcomes(compared([sides[0]], [sides[1]]))["kl_mean"] == {"same"}
    assert outcomes(compared([base], [sides[0]], "agreement=off"))["kl_mean"] == {"same"}


def test_a_change_that_is_the_budget_itself_wants_more_of_the_same(make_run: MakeRun) -> None:
    right = np.ones(100, dtype=bool)
    wrong = right.copy()
    wrong[0] = False
    cell = Cell("exact_match", "tiny", "fp32", "arithmetic")
    base, head = (Record(cell, {"exact_match": share(outcome)}) for outcome in (right, wrong))
    (verdict,) = compared([base], [head]).verdicts
    assert (verdict.outcome, verdict.reason) == (
        "cannot tell", "the change is the budget itself; more items are needed",
    )  # fmt: skip


@pytest.mark.parametrize(("better", "change"), [("lower", 2.0), ("higher", -2.0)])
def test_a_loss_of_two_standard_errors_has_the_two_sided_p_value_that_everybody_knows(
    better: Better, change: float
) -> None:
    metric, cell = Metric(1.0, "nats", better), Cell("perplexity", "tiny", "fp32")
    effect = ClusteredMean(change, 1.0, 1e9)
    test = judge_module.Test(cell, "x", metric, metric, Amount(0.0, relative=False), effect, ratio=False)
    assert test.p_value == pytest.approx(0.0455, abs=1e-4)
