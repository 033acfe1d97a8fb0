"""Two unpaired samples of times: the exact Mann-Whitney test, its interval, and the noise between whole runs."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from benchsuite.errors import NumericalError
from benchsuite.stats.effects import Interval, invert

LARGEST_EXACT = 128 * 128  # pairs of rounds; beyond, the normal approximation is within 0.03 standard deviations


@dataclass(frozen=True)
class RunNoise:
    """How far the medians of two runs of the same code lie apart: the standard deviation of the log of their ratio.

    Estimated with `df` degrees of freedom from repeated runs; 0 where nobody has measured it.
    """

    standard_deviation: float = 0.0
    df: float = math.inf


@dataclass(frozen=True)
class LogRatio:
    """The effect ln(head / base) of two samples of positive figures: a shift of their logarithms.

    The p-values are those of the exact one-sided Mann-Whitney test with a tie counted for the hypothesis, the value is
    the estimate of Hodges and Lehmann (1963), the interval its inverse. Where runs differ by `noise` although the code
    does not, the p-values are averaged over that noise, which for normal figures is exact.
    """

    base: NDArray[np.float64]  # (m,)
    head: NDArray[np.float64]  # (n,)
    noise: RunNoise = RunNoise()

    @functools.cached_property
    def value(self) -> float:
        """The median of all log ratios of a figure of head to one of base."""
        return float(np.median(self._differences))

    def p_at_most(self, bound: float) -> float:
        """One-sided p-value of "the log ratio is at most `bound`"."""
        return self._p(self._differences, bound)

    def p_at_least(self, bound: float) -> float:
        """One-sided p-value of "the log ratio is at least `bound`"."""
        return self._p(-self._differences[::-1], -bound)

    def interval(self, level: float = 0.95) -> Interval:
        """The two-sided interval; infinite where there are too few figures for it."""
        if float(survival(len(self.base), len(self.head))[-1]) >= (1 - level) / 2:
            return -math.inf, math.inf
        reach = 1e-9 + self.noise.standard_deviation * float(_noise_nodes(self.noise.df)[0][-1])
        return invert(self, level, float(self._differences[0]) - reach, float(self._differences[-1]) + reach)

    @functools.cached_property
    def _differences(self) -> NDArray[np.float64]:
        return np.sort(np.subtract.outer(np.log(self.head), np.log(self.base)), axis=None)

    def _p(self, differences: NDArray[np.float64], bound: float) -> float:
        chance = survival(len(self.base), len(self.head))
        if self.noise.standard_deviation == 0:
            return float(chance[differences.size - differences.searchsorted(bound, side="right")])
        nodes, weights = _noise_nodes(self.noise.df)
        bounds = bound + self.noise.standard_deviation * nodes
        return float(chance[differences.size - differences.searchsorted(bounds, side="right")] @ weights)


def log_ratio(base: ArrayLike, head: ArrayLike, noise: RunNoise | None = None) -> LogRatio:
    """The effect ln(head / base) from the figures (m,) and (n,) of independent rounds; see `LogRatio`."""
    base, head = np.asarray(base, dtype=np.float64), np.asarray(head, dtype=np.float64)
    if not base.size or not head.size or not (base > 0).all() or not (head > 0).all():
        raise NumericalError("a ratio of times needs at least one round a side and times above 0")
    return LogRatio(base, head, noise or RunNoise())


@functools.lru_cache(maxsize=64)
def survival(m: int, n: int) -> NDArray[np.float64]:
    """P(U >= u), u = 0 … m n: the chance that as many of the m n pairs favour one side (Mann and Whitney, 1947)."""
    pairs = m * n
    if pairs > LARGEST_EXACT:
        spread = math.sqrt(pairs * (m + n + 1) / 12)
        normal: NDArray[np.float64] = special.ndtr(-(np.arange(pairs + 1) - 0.5 - pairs / 2) / spread)
        return normal
    # ways[k, u]: choices of k of the first i ranks that lie above u others; the k-th chosen, of rank i, adds i - k
    ways = np.zeros((m + 1, pairs + 1))
    ways[0, 0] = 1.0
    for i in range(1, m + n + 1):
        for k in range(min(i, m), max(1, i - n) - 1, -1):
            ways[k, i - k :] += ways[k - 1, : pairs + 1 - (i - k)]
    chance = ways[m] / ways[m].sum()
    tail: NDArray[np.float64] = np.minimum(np.cumsum(chance[::-1])[::-1], 1.0)
    return tail


@functools.lru_cache(maxsize=64)
def _noise_nodes(df: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of Student's t and their chances, dense enough in the tails for p-values of 10⁻⁷."""
    edges = special.expit(np.linspace(-18, 18, 202))
    middles = special.expit(np.linspace(-18, 18, 202)[:-1] + 18 / 201)
    nodes = special.ndtri(middles) if math.isinf(df) else special.stdtrit(df, middles)
    weights = np.diff(edges)
    return nodes, weights / weights.sum()
