from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchsuite.stats import find_steps
from benchsuite.stats.steps import PERMUTATIONS, _cheapest_cuts, _costs


@pytest.mark.parametrize("n", [8, 20, 40])
@pytest.mark.parametrize("kind", ["normal", "laplace", "standard_t"])
def test_a_series_without_a_step_gets_one_in_at_most_5_of_100(n: int, kind: str) -> None:
    random = np.random.default_rng([n, len(kind)])
    draw = {
        "normal": lambda: random.standard_normal(n),
        "laplace": lambda: random.laplace(size=n),
        "standard_t": lambda: random.standard_t(2, n),
    }[kind]
    runs = 250
    alarms = sum(bool(find_steps(draw(), seed=run)) for run in range(runs))
    assert alarms / runs <= 0.05 + 0.033  # two and a half standard errors of the simulation


@pytest.mark.parametrize(("n", "shift"), [(8, 5.0), (12, 4.0), (40, 2.5)])
def test_a_step_is_found_where_it_is_and_by_how_much(n: int, shift: float) -> None:
    random = np.random.default_rng(n)
    right = 0
    for run in range(100):
        series = random.standard_normal(n)
        series[n // 2 :] += shift
        steps = find_steps(series, seed=run)
        right += len(steps) == 1 and abs(steps[0].index - n // 2) <= 1 and abs(steps[0].after - steps[0].before) > 1
    assert right >= 85


def test_a_step_up_and_the_fix_that_undid_it_are_two_steps() -> None:
    random = np.random.default_rng(2)
    series = random.standard_normal(40)
    series[15:25] += 5
    assert [step.index for step in find_steps(series)] == [15, 25]


@given(st.lists(st.integers(-5, 5), min_size=4, max_size=9))
def test_the_segmentation_is_the_cheapest_there_is(figures: list[int]) -> None:
    values = np.array(figures, dtype=np.float64)
    costs = _costs(values)
    for i, j in itertools.combinations(range(len(values) + 1), 2):
        assert costs[i, j] == pytest.approx(np.abs(values[i:j] - np.median(values[i:j])).sum())
    cuts = _cheapest_cuts(costs)
    borders = [0, *cuts, len(values)]
    found = sum(costs[i, j] for i, j in itertools.pairwise(borders))
    for other in itertools.combinations(range(2, len(values) - 1), len(cuts)):
        wide = [0, *other, len(values)]
        if all(j - i >= 2 for i, j in itertools.pairwise(wide)):
            assert found <= sum(costs[i, j] for i, j in itertools.pairwise(wide)) + 1e-9


def test_a_constant_series_a_short_one_and_none_have_no_step() -> None:
    assert find_steps(np.full(30, 7.0)) == []
    assert find_steps([1.0, 1.0, 1.0, 9.0, 9.0, 9.0]) == []
    assert find_steps([1.0]) == find_steps([]) == []
    with pytest.raises(ValueError, match="finite"):
        find_steps([1.0, float("nan")])


def test_the_p_value_of_the_clearest_step_is_that_of_all_the_orders_that_were_drawn() -> None:
    [step] = find_steps(np.repeat([0.0, 1e6], 20) + np.arange(40) % 3)
    assert step.p_value == 1 / (1 + PERMUTATIONS)


def test_a_step_that_would_be_confirmed_alone_is_not_beside_others_as_weak() -> None:
    """Of the 70 orders of two levels of 4 figures two are as clear: 1/35, below 1/20 and above 1/80."""
    series = np.repeat([0.0, 9.0, 0.0, 9.0, 0.0], 4) + np.tile([0.0, 0.2, 0.1, 0.3], 5)
    assert [step.index for step in find_steps(series[:8])] == [4]
    assert find_steps(series) == []


def test_equal_figures_share_a_rank_whatever_the_order_a_processor_sorts_them_in() -> None:
    """Of the 495 orders of 8 figures and 4 higher ones two are as clear; broken ties would make it one of 33."""
    [step] = find_steps(np.repeat([0.0, 1.0], [8, 4]))
    assert step.index == 8
    assert step.p_value == pytest.approx(2 / 495, abs=0.006)  # three standard errors of 999 orders
