"""Tests on the same items measured twice: what the items have in common cancels, so small changes show."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from benchsuite.stats.effects import Interval, invert
from benchsuite.stats.intervals import ClusteredMean, clustered_mean

_SMALLEST_P = 1e-300


def mean_difference(
    base: ArrayLike, head: ArrayLike, cluster: ArrayLike | None = None, sizes: ArrayLike | None = None
) -> ClusteredMean:
    """The effect mean(head) - mean(base) over n items in both, weighted by `sizes` (n,), items of one `cluster` (n,)
    being dependent.
    """
    difference = np.asarray(head, dtype=np.float64) - np.asarray(base, dtype=np.float64)
    weights = np.ones_like(difference) if sizes is None else np.asarray(sizes, dtype=np.float64)
    return _change(difference * weights, weights, cluster)


def loss_difference(
    base_log_likelihood: ArrayLike, head_log_likelihood: ArrayLike, tokens: ArrayLike, cluster: ArrayLike | None = None
) -> ClusteredMean:
    """The effect ln(perplexity of head / perplexity of base), nats a token, from n windows scored by both.

    The difference of two mean losses as one clustered mean, so that what makes a document hard cancels: the paired
    ln(PPL(Q)/PPL(base)) of llama.cpp, with documents in place of independent tokens.
    """
    loss = np.asarray(base_log_likelihood, dtype=np.float64) - np.asarray(head_log_likelihood, dtype=np.float64)
    return _change(loss, tokens, cluster)


def _change(sums: ArrayLike, sizes: ArrayLike, cluster: ArrayLike | None) -> ClusteredMean:
    """The mean of differences. Where all clusters moved by the same amount, which says nothing of their spread, it is
    as sure as the exact sign test is: n clusters of one sign have a one-sided p-value of 2**-n.
    """
    found = clustered_mean(sums, sizes, cluster)
    if found.value == 0 or found.standard_error > 0:
        return found
    # SciPy 1.15 has no quantile of 0, which is what 2**-n becomes beyond a thousand clusters
    t = -float(special.stdtrit(found.df, max(0.5 ** (found.df + 1), _SMALLEST_P)))
    return replace(found, standard_error=abs(found.value) / t)


@dataclass(frozen=True)
class PairedProportion:
    """The effect: by how much the share of right items rises, when `gained` became right and `lost` became wrong of n.

    Against no change: the exact test of McNemar (binomial in the items that differ). Against a margin, and for the
    interval: Tango's score test (1998), never more certain than the exact one, so that the two cannot disagree.
    """

    gained: int
    lost: int
    n: int

    @property
    def value(self) -> float:
        """The difference of the two shares."""
        return (self.gained - self.lost) / self.n

    def p_at_most(self, bound: float) -> float:
        """One-sided p-value of "the share rises by at most `bound`"."""
        return _p_rise_at_most(self.gained, self.lost, self.n, bound)

    def p_at_least(self, bound: float) -> float:
        """One-sided p-value of "the share rises by at least `bound`"."""
        return _p_rise_at_most(self.lost, self.gained, self.n, -bound)

    def interval(self, level: float = 0.95) -> Interval:
        """The two-sided interval."""
        return invert(self, level, -1.0, 1.0)


def paired_proportion(base: ArrayLike, head: ArrayLike) -> PairedProportion:
    """The effect share(head) - share(base) from the outcomes (n,) of the same items in both."""
    base, head = np.asarray(base, dtype=bool), np.asarray(head, dtype=bool)
    if base.shape != head.shape or base.ndim != 1 or not base.size:
        raise ValueError(f"wanted two arrays of one length, found {base.shape} and {head.shape}")
    return PairedProportion(int((head & ~base).sum()), int((base & ~head).sum()), base.size)


def _p_rise_at_most(gained: int, lost: int, n: int, bound: float) -> float:
    if bound >= 1:
        return 1.0
    if bound <= -1:
        return 0.0
    # restricted maximum likelihood of the share of lost items where the rise is `bound` (Tango 1998, equation 7)
    b = -gained - lost + (2 * n - gained + lost) * bound
    share_lost = (math.sqrt(max(b * b + 8 * n * lost * bound * (1 - bound), 0.0)) - b) / (4 * n)
    variance = n * (2 * share_lost + bound * (1 - bound))
    distance = gained - lost - n * bound
    score = float(special.ndtr(-distance / math.sqrt(variance))) if variance > 0 else float(distance <= 0)
    if bound < 0:
        return score
    exact = float(special.bdtrc(gained - 1, gained + lost, 0.5)) if gained else 1.0
    return max(score, exact)
