"""How far a single figure can be trusted: proportions, means and perplexities with their 95 % intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from benchsuite.errors import NumericalError
from benchsuite.stats.effects import Interval


@dataclass(frozen=True)
class ClusteredMean:
    """A weighted mean of clusters of dependent items with its standard error; follows Student's t with `df`.

    Also an effect (see `benchsuite.stats.effects`) where the items are differences.
    """

    value: float
    standard_error: float  # 0 where all clusters agree to the last bit; infinite where there is one cluster only
    df: float

    def p_at_most(self, bound: float) -> float:
        """One-sided p-value of "the true mean is at most `bound`"."""
        return float(special.stdtr(self.df, -self._t(bound)))

    def p_at_least(self, bound: float) -> float:
        """One-sided p-value of "the true mean is at least `bound`"."""
        return float(special.stdtr(self.df, self._t(bound)))

    def interval(self, level: float = 0.95) -> Interval:
        """The two-sided interval; infinite where there is one cluster only."""
        if self.standard_error == 0:
            return self.value, self.value
        reach = float(special.stdtrit(self.df, (1 + level) / 2)) * self.standard_error
        return self.value - reach, self.value + reach

    def _t(self, bound: float) -> float:
        if self.standard_error == 0:
            return 0.0 if self.value == bound else math.copysign(math.inf, self.value - bound)
        return (self.value - bound) / self.standard_error


def clustered_mean(sums: ArrayLike, sizes: ArrayLike, cluster: ArrayLike | None = None) -> ClusteredMean:
    """The mean Σ sums / Σ sizes over n items, `cluster` (n,) saying which of them belong together (None: none do).

    The standard error is the delete-one-cluster jackknife (CV3 of MacKinnon, Nielsen and Webb, 2023); the degrees of
    freedom are the effective number of clusters less one, (Σ sizes)² / Σ sizes² - 1, which keeps the 95 % interval
    between 93 % and 97 % from two clusters up, of equal or very unequal sizes, where cluster means are about normal.
    Very skewed cluster means (standard deviation as large as the mean) cost a few points below 60 clusters.
    """
    sums, sizes = np.asarray(sums, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    cluster = np.arange(sums.size) if cluster is None else np.asarray(cluster)
    if not sums.shape == sizes.shape == cluster.shape or sums.ndim != 1:
        raise ValueError(f"wanted three arrays of one length, found {sums.shape}, {sizes.shape}, {cluster.shape}")
    if not sums.size or not np.isfinite(sums).all() or not (sizes >= 0).all() or not sizes.sum() > 0:
        raise NumericalError("a mean needs finite sums, sizes of at least 0 and one item of a size above 0")
    _, index = np.unique(cluster, return_inverse=True)
    cluster_sums, cluster_sizes = np.bincount(index, sums), np.bincount(index, sizes)
    cluster_sums, cluster_sizes = cluster_sums[cluster_sizes > 0], cluster_sizes[cluster_sizes > 0]
    total, size, count = float(cluster_sums.sum()), float(cluster_sizes.sum()), len(cluster_sizes)
    mean = total / size
    if count == 1:
        return ClusteredMean(mean, math.inf, 1.0)
    if np.ptp(cluster_sums / cluster_sizes) == 0:
        return ClusteredMean(float(cluster_sums[0] / cluster_sizes[0]), 0.0, count - 1.0)
    # delete-one mean less the mean, in the form that loses no digits: (T m - s) / (T - t) - m = (m t - s) / (T - t)
    shift: NDArray[np.float64] = (mean * cluster_sizes - cluster_sums) / (size - cluster_sizes)
    error = math.sqrt((count - 1) / count * float(np.square(shift).sum()))
    effective = size**2 / float(np.square(cluster_sizes).sum())
    return ClusteredMean(mean, error, max(effective - 1, 1.0))


def mean_interval(
    values: ArrayLike, cluster: ArrayLike | None = None, sizes: ArrayLike | None = None
) -> Interval | None:
    """95 % interval for the mean of `values` (n,), weighted by `sizes` (n,), items of one `cluster` (n,) dependent.

    None where the clusters say nothing of their spread: a single one, or all equal. See `clustered_mean` for the method
    and its limits.
    """
    values = np.asarray(values, dtype=np.float64)
    weights = np.ones_like(values) if sizes is None else np.asarray(sizes, dtype=np.float64)
    return _known(clustered_mean(values * weights, weights, cluster).interval())


def perplexity_interval(
    log_likelihood: ArrayLike, tokens: ArrayLike, cluster: ArrayLike | None = None
) -> Interval | None:
    """95 % interval for exp(-Σ log_likelihood / Σ tokens), nats; None as in `mean_interval`.

    `log_likelihood` (n,) sums, `tokens` (n,) the units that each is divided by, `cluster` (n,) the document of each.
    """
    nll = -np.asarray(log_likelihood, dtype=np.float64)
    ends = _known(clustered_mean(nll, tokens, cluster).interval())
    if ends is None or ends[1] > 700:  # exp() would overflow: two documents, say, that have nothing in common
        return None
    return math.exp(ends[0]), math.exp(ends[1])


def proportion_interval(successes: int, n: int) -> Interval:
    """The exact 95 % interval of Clopper and Pearson (1934)."""
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"wanted 0 to n successes among n >= 1 items, found {successes} among {n}")
    tail = 0.025
    low = float(special.betaincinv(successes, n - successes + 1, tail)) if successes else 0.0
    high = float(special.betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return low, high


def _known(ends: Interval) -> Interval | None:
    return ends if math.isfinite(ends[0]) and math.isfinite(ends[1]) and ends[0] < ends[1] else None
