from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special
from scipy import stats as scipy_stats

from benchsuite.stats import PairedProportion, loss_difference, mean_difference, paired_proportion, two_sided
from benchsuite.stats.intervals import perplexity_interval


@given(st.integers(0, 25), st.integers(0, 25), st.integers(0, 200))
def test_no_change_of_outcomes_is_tested_by_the_exact_test_of_mcnemar(gained: int, lost: int, equal: int) -> None:
    n = max(gained + lost + equal, 1)
    expected = scipy_stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert two_sided(PairedProportion(gained, lost, n)) >= expected - 1e-12
    one_sided = scipy_stats.binomtest(lost, gained + lost, alternative="greater").pvalue if gained + lost else 1.0
    assert PairedProportion(gained, lost, n).p_at_least(0.0) >= one_sided - 1e-12


@given(st.integers(0, 25), st.integers(0, 25), st.integers(1, 200))
def test_the_interval_of_outcomes_holds_zero_unless_the_exact_test_says_otherwise(
    g: int, lost: int, equal: int
) -> None:
    effect = PairedProportion(g, lost, g + lost + equal)
    low, high = effect.interval()
    assert -1 <= low <= effect.value <= high <= 1
    assert (low <= 0 <= high) == (two_sided(effect) >= 0.05)
    mirrored = PairedProportion(lost, g, effect.n).interval()
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize("n", [20, 50, 200])
@pytest.mark.parametrize(("gain", "loss"), [(0.0, 0.02), (0.01, 0.03), (0.05, 0.1), (0.1, 0.3), (0.1, 0.1)])
def test_the_interval_of_outcomes_covers_by_enumeration(n: int, gain: float, loss: float) -> None:
    covered = total = 0.0
    for gained, chance in enumerate(scipy_stats.binom.pmf(np.arange(n + 1), n, gain)):
        if chance < 1e-5:
            continue
        losses = scipy_stats.binom.pmf(np.arange(n - gained + 1), n - gained, loss / (1 - gain))
        for lost in np.flatnonzero(losses > 1e-4):
            effect = PairedProportion(gained, int(lost), n)
            inside = min(effect.p_at_most(gain - loss), effect.p_at_least(gain - loss)) > 0.025
            covered += chance * losses[lost] * inside
            total += chance * losses[lost]
    assert total > 0.99
    assert covered / total >= 0.93


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 60), st.floats(-0.4, 0.4))
def test_a_margin_is_tested_by_the_score_under_the_likeliest_shares(
    g: int, lost: int, equal: int, margin: float
) -> None:
    n = g + lost + equal

    def minus_log_likelihood(share_lost: float) -> float:
        share_gained = share_lost + margin
        return -float(
            special.xlogy(g, share_gained)
            + special.xlogy(lost, share_lost)
            + special.xlogy(equal, 1 - share_gained - share_lost)
        )

    low, high = max(0.0, -margin), (1 - margin) / 2
    share_lost = optimize.minimize_scalar(
        minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x
    spread = math.sqrt((2 * share_lost + margin - margin**2) / n)
    if spread > 1e-3:
        score = special.ndtr(-((g - lost) / n - margin) / spread)
        p_value = PairedProportion(g, lost, n).p_at_most(margin)
        assert p_value >= score - 2e-3  # never more certain than the exact test against zero
        assert margin >= 0 or p_value <= score + 2e-3


def test_equal_outcomes_differ_by_nothing() -> None:
    effect = paired_proportion([True, False, True], [True, False, True])
    assert (effect.value, two_sided(effect)) == (0.0, 1.0)
    with pytest.raises(ValueError, match="one length"):
        paired_proportion([True], [True, False])


def test_a_loss_of_a_thousandth_shows_where_the_unpaired_intervals_overlap() -> None:
    random = np.random.default_rng(3)
    cluster = np.repeat(np.arange(60), 5)
    tokens = random.integers(60, 129, cluster.size)
    base = -tokens * (3 + 0.5 * random.standard_normal(60)[cluster])
    head = base - tokens * (0.001 + 0.002 * random.standard_normal(cluster.size))
    intervals = [perplexity_interval(sums, tokens, cluster) for sums in (base, head)]
    assert intervals[0] is not None
    assert intervals[1] is not None
    assert intervals[1][0] < intervals[0][1]
    effect = loss_difference(base, head, tokens, cluster)
    assert two_sided(effect) < 1e-4
    assert effect.interval()[0] < 0.001 < effect.interval()[1]
    assert effect.value == pytest.approx((base.sum() - head.sum()) / tokens.sum())


@pytest.mark.parametrize("documents", [3, 8, 40])
def test_paired_effects_of_documents_are_covered_and_cry_wolf_as_often_as_they_say(documents: int) -> None:
    random = np.random.default_rng(documents)
    cluster = np.repeat(np.arange(documents), random.integers(1, 8, documents))
    tokens = random.integers(30, 129, cluster.size)
    hard = 3 + random.standard_normal(cluster.size)
    covered, alarms, runs = 0, 0, 2_000
    for _ in range(runs):
        change = 0.01 * random.standard_normal(documents)[cluster] + 0.003 * random.standard_normal(cluster.size)
        effect = loss_difference(-hard * tokens, -(hard + change) * tokens, tokens, cluster)
        low, high = effect.interval()
        covered += low <= 0 <= high
        alarms += two_sided(effect) <= 0.05
    assert 0.93 - 0.013 <= covered / runs <= 0.97 + 0.015
    assert alarms == runs - covered


def test_identical_figures_differ_by_exactly_nothing() -> None:
    values = np.random.default_rng(0).standard_normal(30)
    effect = mean_difference(values, values, np.repeat([0, 1, 2], 10))
    assert (effect.value, effect.interval(), two_sided(effect)) == (0.0, (0.0, 0.0), 1.0)


def test_one_document_can_show_nothing() -> None:
    effect = loss_difference([-10.0, -20.0], [-11.0, -22.0], [5, 5], [1, 1])
    assert effect.interval() == (-math.inf, math.inf)
    assert two_sided(effect) == 1.0


@pytest.mark.parametrize("n", [2, 3, 6, 40, 2000])
def test_items_that_all_moved_by_the_same_are_as_sure_as_their_signs(n: int) -> None:
    effect = mean_difference(np.zeros(n), np.ones(n))
    assert effect.standard_error > 0
    assert two_sided(effect) == pytest.approx(2 * 0.5**n, rel=1e-6)
    assert effect.p_at_least(0.0) == pytest.approx(1 - 0.5**n)
    low, high = effect.interval()
    assert (low <= 0 <= high) == (n < 6)
    assert two_sided(loss_difference(np.zeros(n), -np.ones(n), np.ones(n))) == pytest.approx(2 * 0.5**n, rel=1e-6)
