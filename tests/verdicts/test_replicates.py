from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import special

from benchsuite.record import Cell, Metric, Record, Rounds
from benchsuite.verdicts.ab import Trial, looks, order, verdicts
from benchsuite.verdicts.budgets import make_budgets
from benchsuite.verdicts.compare import Policy
from benchsuite.verdicts.noise import NoiseFloor, Spread
from benchsuite.verdicts.replicates import Run, compare_runs, merge_runs, noise_of_runs, unsteady_metrics
from benchsuite.verdicts.runs import Side

MakeRun = Callable[..., list[Record]]


def by_key(records: list[Record]) -> Run:
    return {record.cell.key(): record for record in records}


def timed_run(seconds: np.ndarray) -> Run:
    """A run of one clock per cell; `seconds` (cells, rounds)."""
    return by_key(
        [
            Record(
                Cell("generation", "tiny", f"p{cell}"),
                {"tokens_per_s": Metric(1 / float(np.median(row)), "tok/s", "higher", evidence=Rounds(row, 1.0))},
                machine={"fingerprint": "m"},
            )
            for cell, row in enumerate(seconds)
        ]
    )


def draw(
    random: np.random.Generator, runs: int, cells: int, *, common: float, own: float, within: float = 0.01
) -> list[Run]:
    """Runs whose cells share a `common` deviation and have one of their `own`; 8 rounds each."""
    found = []
    for _ in range(runs):
        level = common * random.standard_normal() + own * random.standard_normal((cells, 1))
        found.append(timed_run(np.exp(level + within * random.standard_normal((cells, 8)))))
    return found


def test_runs_are_merged_cell_by_cell(make_run: MakeRun) -> None:
    runs = [by_key(make_run(seed, rounds=8, peak_bytes=100 + seed)) for seed in (0, 1, 5)]
    merged = merge_runs(runs)
    for key, record in merged.items():
        metric = record.metrics["tokens_per_s"]
        assert isinstance(metric.evidence, Rounds)
        assert metric.n == metric.evidence.seconds.size == 24
        assert metric.value == pytest.approx(metric.evidence.work / np.median(metric.evidence.seconds))
        assert record.metrics["peak_memory_bytes"].value == 101
        assert record.metrics["perplexity"] == runs[0][key].metrics["perplexity"]


def test_a_cell_that_failed_in_one_run_or_is_absent_from_one_has_failed(make_run: MakeRun) -> None:
    whole, short = make_run(0), make_run(1, cells=1)
    broken = [dataclasses.replace(short[0], status="failed", reason="boom"), whole[1]]
    merged = list(merge_runs([by_key(whole), by_key(broken)]).values())
    assert [(record.status, record.reason) for record in merged] == [("failed", "boom"), ("passed", "")]
    merged = list(merge_runs([by_key(whole), by_key(short)]).values())
    assert [(record.status, record.reason) for record in merged] == [("passed", ""), ("failed", "absent from 1 runs")]


def test_a_metric_that_one_run_lacks_is_missing_and_not_pooled_with_the_others(make_run: MakeRun) -> None:
    whole, short = make_run(0), make_run(1)
    metrics = {name: metric for name, metric in short[0].metrics.items() if name != "tokens_per_s"}
    lacking = [dataclasses.replace(short[0], metrics=metrics), *short[1:]]
    for runs in ([whole, lacking], [lacking, whole]):
        first, second = merge_runs(list(map(by_key, runs))).values()
        assert "tokens_per_s" not in first.metrics
        assert "tokens_per_s" in second.metrics


def test_few_runs_lean_on_the_noise_floor_of_the_machine_and_on_what_they_show() -> None:
    """A second run a side never makes a gate blind that saw with one; what it shows counts where it is more."""

    def outcome(levels: Sequence[float], head: float, floor: NoiseFloor | None) -> str:
        base = [timed_run(np.exp(level + np.linspace(-0.01, 0.01, 8)[None])) for level in levels]
        policy = Policy(noise=lambda _: floor)
        [verdict] = compare_runs(base, [timed_run(np.exp(head + np.linspace(-0.01, 0.01, 8)[None]))], policy).verdicts
        return verdict.outcome

    floor = NoiseFloor("m", {"generation/tokens_per_s": Spread(0.02, 0.01, 20, 8)})
    assert outcome([0.0], 0.3, floor) == "worse"
    assert outcome([0.0, 0.05], 0.3, floor) == "worse"
    assert outcome([0.0, 0.05], 0.3, None) == "cannot tell"  # one degree of freedom
    assert outcome([-0.2, 0.2], 0.3, floor) == "cannot tell"
    assert outcome([-0.01, 0.0, 0.01, 0.02, 0.0], 0.3, None) == "worse"


def test_quality_that_differs_between_runs_of_the_same_code_is_named(make_run: MakeRun) -> None:
    runs = [by_key(make_run(0)), by_key(make_run(1))]
    assert unsteady_metrics(runs) == []
    found = unsteady_metrics([*runs, by_key(make_run(2, loss=0.01))])
    assert "perplexity tiny-fp32-set1 perplexity" in found
    assert not any("tokens_per_s" in name for name in found)


def test_the_spread_between_runs_is_that_of_the_medians_within_each_side() -> None:
    sides = [
        [timed_run(np.full((1, 8), math.exp(level))) for level in levels] for levels in ((0.0, 0.2), (5.0, 5.2, 5.4))
    ]
    floor = noise_of_runs(sides, "m")
    assert floor is not None
    assert floor.runs == (2, 3)
    spread = floor.spreads["generation/tokens_per_s"]
    assert spread.between == pytest.approx(math.sqrt((2 * 0.1**2 + 2 * 0.2**2) / 3))
    assert (spread.df, spread.within, spread.rounds) == (3, 0.0, 8)
    assert noise_of_runs([sides[0][:1], sides[1][:1]], "m") is None


def test_stragglers_do_not_count_as_the_spread_of_a_round() -> None:
    random = np.random.default_rng(0)
    rounds = np.exp(0.01 * random.standard_normal((1, 400)))
    rounds[:, ::10] *= 3
    floor = noise_of_runs([[timed_run(rounds), timed_run(rounds)]], "m")
    assert floor is not None
    assert floor.spreads["generation/tokens_per_s"].within == pytest.approx(0.01, rel=0.25)


def test_the_spread_of_normal_rounds_is_their_standard_deviation() -> None:
    rounds = np.exp(0.01 * special.ndtri((np.arange(400) + 0.5) / 400))[None]
    floor = noise_of_runs([[timed_run(rounds), timed_run(rounds)]], "m")
    assert floor is not None
    assert floor.spreads["generation/tokens_per_s"].within == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize(("common", "own"), [(0.02, 0.0), (0.0, 0.02), (0.02, 0.01)])
@pytest.mark.parametrize("runs", [2, 4])
def test_the_noise_of_runs_holds_its_level_whether_cells_move_together_or_not(
    common: float, own: float, runs: int
) -> None:
    random = np.random.default_rng([runs, int(1000 * common), int(1000 * own)])
    alarms, trials = 0, 300
    for _ in range(trials):
        sides = [draw(random, runs, 5, common=common, own=own, within=1e-6) for _ in range(2)]
        floor = noise_of_runs(sides, "m")
        assert floor is not None
        first = next(iter(sides[0][0]))
        medians = [[np.log(np.median(run[first].metrics["tokens_per_s"].evidence.seconds)) for run in s] for s in sides]
        noise = floor.between(sides[0][0][first].cell, "tokens_per_s")
        assert noise is not None
        distance = abs(np.mean(medians[0]) - np.mean(medians[1])) / noise.standard_deviation
        alarms += bool(2 * special.stdtr(noise.df, -distance) <= 0.05)
    assert alarms / trials <= 0.05 + 0.038  # three standard errors of the simulation


def test_the_sides_take_turns_so_that_a_drift_cancels() -> None:
    assert order(4) == [0, 1, 1, 0, 0, 1, 1, 0]
    turns = order(8)
    drift = [sum(place for place, side in enumerate(turns) if side == which) for which in (0, 1)]
    assert drift[0] == drift[1]


def test_the_verdicts_are_looked_at_ever_more_rarely() -> None:
    assert looks(1) == [1]
    assert looks(2) == [2]
    assert looks(8) == [2, 4, 8]
    assert looks(10) == [2, 4, 8, 10]


def test_every_look_is_at_the_level_divided_by_how_many_there_are(make_run: MakeRun) -> None:
    runs = [by_key(make_run(seed)) for seed in range(4)]
    trial = Trial((Side("a", None, ""), Side("b", None, "")), (runs[:2], runs[2:]))  # type: ignore[arg-type]
    policy = Policy(noise=lambda _: None)
    assert verdicts(trial, 8, policy).alpha == pytest.approx(0.05 / 3)
    assert verdicts(trial, 2, policy).alpha == 0.05


def undecided_or_worse(runs: tuple[list[Run], list[Run]], policy: Policy) -> bool:
    """Whether a whole trial, looked at after 2, 4 and 8 runs, ends with a regression."""
    for count in looks(8):
        trial = Trial((Side("a", None, ""), Side("b", None, "")), (runs[0][:count], runs[1][:count]))  # type: ignore[arg-type]
        comparison = verdicts(trial, 8, policy)
        if comparison.of("worse"):
            return True
        if not comparison.of("cannot tell"):
            return False
    return False


@pytest.mark.parametrize("budget", ["0", "5%"])
def test_a_trial_of_equal_sides_ends_with_a_regression_in_at_most_5_of_100_however_often_one_looks(budget: str) -> None:
    random = np.random.default_rng(4)
    policy = Policy(make_budgets([f"speed={budget}"]), noise=lambda _: None)
    trials = 60
    alarms = sum(
        undecided_or_worse(
            (draw(random, 8, 6, common=0.02, own=0.01), draw(random, 8, 6, common=0.02, own=0.01)), policy
        )
        for _ in range(trials)
    )
    assert alarms <= 7  # 98 times in 100 where the true rate is 5 %


def test_a_slowdown_of_10_percent_in_one_cell_is_found_and_no_other_cell_is_named() -> None:
    random = np.random.default_rng(9)
    policy = Policy(make_budgets(["speed=5%"]), noise=lambda _: None)
    named = []
    for _ in range(10):
        sides = draw(random, 8, 6, common=0.005, own=0.01), draw(random, 8, 6, common=0.005, own=0.01)
        for run in sides[1]:
            [key, *_] = run
            slow = run[key].metrics["tokens_per_s"]
            assert isinstance(slow.evidence, Rounds)
            metric = dataclasses.replace(slow, evidence=Rounds(slow.evidence.seconds * 1.12, 1.0))
            run[key] = dataclasses.replace(run[key], metrics={"tokens_per_s": metric})  # type: ignore[index]
        trial = Trial((Side("a", None, ""), Side("b", None, "")), sides)  # type: ignore[arg-type]
        named.append([verdict.cell.precision for verdict in verdicts(trial, 8, policy).of("worse")])
    assert sum(names == ["p0"] for names in named) >= 9
