from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchsuite.errors import NumericalError
from benchsuite.stats import mean_interval, perplexity_interval, proportion_interval
from benchsuite.stats.intervals import ClusteredMean, clustered_mean


def coverage(truth: float, intervals: Sequence[tuple[float, float] | None]) -> float:
    return float(np.mean([low <= truth <= high for low, high in (ends for ends in intervals if ends is not None)]))


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0], ids=lambda s: f"size spread {s}")
@pytest.mark.parametrize("clusters", [2, 3, 5, 12, 62])
def test_a_mean_over_documents_of_any_size_is_covered_93_to_97_times_in_100(clusters: int, spread: float) -> None:
    random = np.random.default_rng([clusters, int(10 * spread)])
    intervals = []
    for _ in range(2_500):
        sizes = np.maximum(1, np.round(6 * np.exp(spread * random.standard_normal(clusters)))).astype(int)
        cluster = np.repeat(np.arange(clusters), sizes)
        document = 3 + 0.5 * random.standard_normal(clusters)
        intervals.append(mean_interval(document[cluster] + 0.05 * random.standard_normal(cluster.size), cluster))
    # three standard errors of the simulation itself beyond the promise
    assert 0.93 - 0.013 <= coverage(3.0, intervals) <= 0.97 + 0.011


def test_perplexity_is_covered_when_windows_of_a_document_depend_on_each_other() -> None:
    random = np.random.default_rng(1)
    cluster = np.repeat(np.arange(40), random.integers(1, 9, 40))
    tokens = random.integers(20, 129, cluster.size)
    clustered, naive = [], []
    for _ in range(2_500):
        nll = 3 + 0.4 * random.standard_normal(40)[cluster] + 0.2 * random.standard_normal(cluster.size)
        clustered.append(perplexity_interval(-nll * tokens, tokens, cluster))
        naive.append(perplexity_interval(-nll * tokens, tokens))
    assert 0.93 <= coverage(math.exp(3), clustered) <= 0.97
    assert coverage(math.exp(3), naive) < 0.85  # why clusters are kept


@pytest.mark.parametrize("df", [3, 8, 40])
def test_a_ratio_of_two_gauges_with_an_estimated_noise_is_covered_93_to_97_times_in_100(df: int) -> None:
    """What `compare` prints for peaks of memory: one figure a side, the noise from other runs."""
    random = np.random.default_rng(df)
    intervals = []
    for _ in range(5_000):
        noise = 0.01 * math.sqrt(random.chisquare(df) / df)
        intervals.append(ClusteredMean(0.02 + 0.01 * random.standard_normal(), noise, df).interval())
    assert 0.94 <= coverage(0.02, intervals) <= 0.96


@pytest.mark.parametrize("n", [5, 20, 50, 300])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.97, 1.0])
def test_a_proportion_is_covered_at_least_95_times_in_100_exactly(n: int, share: float) -> None:
    chance = scipy_stats.binom.pmf(np.arange(n + 1), n, share)
    covered = sum(
        weight
        for successes, weight in enumerate(chance)
        if proportion_interval(successes, n)[0] <= share <= proportion_interval(successes, n)[1]
    )
    assert covered >= 0.95 - 1e-9


@pytest.mark.parametrize("n", [50, 100, 300, 1_319])
def test_a_proportion_of_fifty_items_and_more_is_covered_93_to_97_times_in_100_on_average(n: int) -> None:
    """Over true shares of 2 to 98 %; with fewer items the exact interval is wider than it need be."""
    shares = np.linspace(0.02, 0.98, 97)
    ends = np.array([proportion_interval(successes, n) for successes in range(n + 1)])  # (n + 1, 2)
    chance = scipy_stats.binom.pmf(np.arange(n + 1)[:, None], n, shares)  # (n + 1, shares)
    covered = (ends[:, :1] <= shares) & (shares <= ends[:, 1:])
    assert 0.93 <= float((chance * covered).sum(axis=0).mean()) <= 0.97


def test_the_interval_of_a_proportion_is_scipys_exact_one() -> None:
    expected = scipy_stats.binomtest(7, 50).proportion_ci(0.95, method="exact")
    assert proportion_interval(7, 50) == pytest.approx((expected.low, expected.high), rel=1e-9)


@given(st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_independent_items_of_one_size_give_the_textbook_interval(n: int, seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal(n)
    low, high = scipy_stats.t.interval(0.95, n - 1, values.mean(), values.std(ddof=1) / math.sqrt(n))
    assert mean_interval(values) == pytest.approx((low, high), rel=1e-7)


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_the_standard_error_is_the_delete_one_document_jackknife(documents: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    cluster = np.concatenate([np.arange(documents), random.integers(0, documents, 20)])
    sizes = random.integers(1, 50, cluster.size)
    sums = sizes * random.gamma(2.0, size=cluster.size)
    left_out = [sums[cluster != c].sum() / sizes[cluster != c].sum() for c in range(documents)]
    mean = sums.sum() / sizes.sum()
    expected = math.sqrt((documents - 1) / documents * sum((m - mean) ** 2 for m in left_out))
    assert clustered_mean(sums, sizes, cluster).standard_error == pytest.approx(expected, rel=1e-6)


def test_one_document_has_no_interval_and_neither_have_equal_ones() -> None:
    assert mean_interval([1.0, 2.0], [7, 7]) is None
    assert mean_interval([0.0] * 4) is None
    assert perplexity_interval([-10.0, -20.0], [5, 10], [1, 2]) is None


def test_a_weighted_mean_is_that_of_its_parts() -> None:
    parts = mean_interval([1.0, 2.0, 2.0, 5.0], [0, 1, 1, 2])
    assert mean_interval([1.0, 2.0, 5.0], [0, 1, 2], [1, 2, 1]) == pytest.approx(parts)


def test_what_has_no_mean_is_refused() -> None:
    with pytest.raises(NumericalError):
        mean_interval([])
    with pytest.raises(NumericalError):
        mean_interval([math.nan, 1.0])
    with pytest.raises(NumericalError):
        perplexity_interval([-1.0, -2.0], [0, 0])
    with pytest.raises(ValueError, match="one length"):
        mean_interval([1.0, 2.0], [1])
    with pytest.raises(ValueError, match="3 among 2"):
        proportion_interval(3, 2)
