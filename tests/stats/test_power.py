from __future__ import annotations

import math

import numpy as np
import pytest

from benchsuite.stats import Design, RunNoise, log_ratio


@pytest.mark.parametrize(("rounds", "margin"), [(8, 0.0), (8, 0.05), (20, 0.0)])
@pytest.mark.parametrize(
    ("own", "within", "df", "runs"),
    [(0.02, 0.01, 12, 1), (0.005, 0.03, 12, 1), (0.0, 0.02, 30, 1), (0.02, 0.02, 6, 4), (0.03, 0.005, 40, 2)],
)
def test_the_stated_power_is_within_5_points_of_simulation(
    own: float, within: float, df: int, runs: int, rounds: int, margin: float
) -> None:
    random = np.random.default_rng([int(1000 * own), int(1000 * within), rounds])
    measured_rounds = 8
    between = math.sqrt(own**2 + math.pi / 2 * within**2 / measured_rounds)
    design = Design(between, within, df, measured_rounds, rounds, runs)
    for wanted in (0.5, 0.9):
        change = design.smallest(wanted, margin=margin)
        assert design.power(change, margin=margin) == pytest.approx(wanted)
        found, trials = 0, 500
        for _ in range(trials):
            levels = own * random.standard_normal((2, runs, 1)) + np.array([0.0, change])[:, None, None]
            times = np.exp(levels + within * random.standard_normal((2, runs, rounds))).reshape(2, -1)
            noise = RunNoise(between * math.sqrt(2 / runs * random.chisquare(df) / df), df)
            found += 2 * log_ratio(times[0], times[1], noise).p_at_most(margin) <= 0.05
        assert abs(found / trials - wanted) <= 0.05 + 2 * math.sqrt(wanted * (1 - wanted) / trials)


def test_more_rounds_find_less_until_the_runs_themselves_differ() -> None:
    noisy = [Design(0.01, 0.05, 20, 8, rounds).smallest() for rounds in (8, 20, 50, 10_000)]
    assert noisy == sorted(noisy, reverse=True)
    floor = math.sqrt(2) * 0.01 * 1.96
    assert noisy[-1] > floor
