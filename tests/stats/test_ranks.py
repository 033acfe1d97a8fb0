from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from benchsuite.errors import NumericalError
from benchsuite.stats import RunNoise, log_ratio, two_sided
from benchsuite.stats.ranks import survival

Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
ROUNDS: dict[str, Draw] = {
    "normal": lambda random, n: np.exp(0.02 * random.standard_normal(n)),
    "with stragglers": lambda random, n: 1 + random.gamma(0.3, 0.05, n),
    "heavy-tailed": lambda random, n: np.exp(0.01 * random.standard_t(2, n)),
}


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_the_p_value_is_scipys_exact_one(m: int, n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    base, head = random.gamma(2, size=m), random.gamma(2, size=n)
    effect = log_ratio(base, head)
    for p_value, side in ((effect.p_at_most(0), "greater"), (effect.p_at_least(0), "less")):
        expected = scipy_stats.mannwhitneyu(head, base, alternative=side, method="exact").pvalue
        assert p_value == pytest.approx(expected, rel=1e-9)


def test_separated_samples_have_the_smallest_p_value_that_there_is() -> None:
    assert two_sided(log_ratio(range(1, 9), range(101, 109))) == pytest.approx(2 / math.comb(16, 8))


def test_more_rounds_than_can_be_counted_exactly_have_the_same_p_values() -> None:
    def z_for(p_value: float, m: int, n: int) -> float:
        return float((np.argmax(survival(m, n) <= p_value) - 0.5 - m * n / 2) / math.sqrt(m * n * (m + n + 1) / 12))

    for p_value in (0.3, 0.025, 1e-4):  # the last exact table and the first approximate one
        assert z_for(p_value, 128, 128) == pytest.approx(z_for(p_value, 128, 129), abs=0.03)


@pytest.mark.parametrize("kind", ROUNDS)
@pytest.mark.parametrize(("m", "n"), [(8, 8), (8, 20)])
def test_a_ratio_of_rounds_is_covered_and_cries_wolf_as_often_as_it_says(kind: str, m: int, n: int) -> None:
    random = np.random.default_rng([m, n])
    runs = 2_000
    inside = [
        two_sided(log_ratio(ROUNDS[kind](random, m), 1.1 * ROUNDS[kind](random, n)), math.log(1.1)) > 0.05
        for _ in range(runs)
    ]
    assert 0.95 - 0.015 <= np.mean(inside) <= 0.97 + 0.011


@given(st.integers(8, 14), st.integers(8, 14), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.05]))
def test_the_interval_is_the_inverse_of_the_test(m: int, n: int, seed: int, noise: float) -> None:
    random = np.random.default_rng(seed)
    effect = log_ratio(random.gamma(2, size=m), random.gamma(2, size=n), RunNoise(noise, 12))
    low, high = effect.interval()
    assert low <= effect.value <= high
    assert two_sided(effect, low - 1e-6) <= 0.05 + 1e-9
    assert two_sided(effect, high + 1e-6) <= 0.05 + 1e-9
    assert two_sided(effect, low + 1e-6) > 0.05
    assert two_sided(effect, high - 1e-6) > 0.05


def test_the_value_is_the_median_of_all_ratios_and_turns_round_with_the_files() -> None:
    base, head = [1.0, 2.0, 5.0], [2.0, 6.0, 6.5]
    expected = math.log(np.median(np.divide.outer(head, base)))
    assert log_ratio(base, head).value == pytest.approx(expected)
    assert log_ratio(head, base).value == pytest.approx(-expected)


def test_rounds_alone_cry_wolf_over_runs_that_differ_and_the_noise_floor_stops_it() -> None:
    random = np.random.default_rng(11)
    between, df, runs = 0.03, 10, 2_000
    naive = informed = 0
    for _ in range(runs):
        base = np.exp(0.01 * random.standard_normal(10))
        head = np.exp(0.01 * random.standard_normal(10) + between * random.standard_normal())
        measured = RunNoise(between * math.sqrt(random.chisquare(df) / df), df)
        naive += two_sided(log_ratio(base, head)) <= 0.05
        informed += two_sided(log_ratio(base, head, measured)) <= 0.05
    assert naive / runs > 0.5
    assert 0.03 <= informed / runs <= 0.05 + 0.013


def test_tied_times_count_for_no_change() -> None:
    coarse = np.repeat([1.0, 2.0], 6)
    assert two_sided(log_ratio(coarse, coarse)) == 1.0
    assert log_ratio(coarse, coarse).value == 0.0


def test_too_few_rounds_have_no_interval_and_no_rounds_are_refused() -> None:
    assert log_ratio([1.0, 1.1, 1.2], [2.0, 2.1, 2.2]).interval() == (-math.inf, math.inf)
    for base, head in (([], [1.0]), ([1.0], [0.0])):
        with pytest.raises(NumericalError):
            log_ratio(base, head)
