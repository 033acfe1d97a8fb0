from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchsuite.stats import holm, log_ratio, loss_difference, paired_proportion, two_sided
from benchsuite.stats.effects import Effect


@given(st.lists(st.floats(0, 1), max_size=30))
def test_holm_keeps_the_order_of_p_values_and_never_lowers_one(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_holm_is_the_step_down_method_of_the_textbook() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_a_matrix_of_100_cells_without_a_change_cries_wolf_in_at_most_5_of_100_runs() -> None:
    random = np.random.default_rng(5)
    cluster = np.repeat(np.arange(20), 4)
    tokens = np.full(cluster.size, 128)
    runs, alarms = 150, 0
    for _ in range(runs):
        effects: list[Effect] = []
        for cell in range(100):
            if cell % 3 == 0:
                effects.append(log_ratio(*np.exp(0.02 * random.standard_normal((2, 12)))))
            elif cell % 3 == 1:
                base, head = random.random((2, 60)) < 0.4
                effects.append(paired_proportion(base, head))
            else:
                base, head = 0.01 * random.standard_normal((2, 20))[:, cluster] * tokens
                effects.append(loss_difference(base, head, tokens, cluster))
        alarms += min(holm([two_sided(effect) for effect in effects])) <= 0.05
    assert alarms <= 14  # 99 times in 100 where the true rate is 5 %
