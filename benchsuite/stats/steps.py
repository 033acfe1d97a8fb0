"""Where a series of figures stepped from one level to another."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

PERMUTATIONS = 999
FEWEST = 2  # figures on each side of a step


@dataclass(frozen=True)
class Step:
    """A step before figure `index`, from the median `before` to the median `after` of the levels beside it.

    `p_value` is the chance that as large a step turns up anywhere among the same figures in a random order.
    """

    index: int
    before: float
    after: float
    p_value: float


def find_steps(series: ArrayLike, *, alpha: float = 0.05, seed: int = 0) -> list[Step]:
    """The steps of a series (n,) of noisy figures, in order.

    The levels are the least sum of absolute deviations with a price on each step (the L1 Potts functional, as in
    airspeed velocity), the price being 3 log n on the scale of the Bayesian information criterion (Zhang and Siegmund,
    2007). A step is kept where a permutation test over its two levels confirms it at `alpha`, divided by the number of
    steps: a series without a step gets one about `alpha` of the time. Fewer than 8 figures can confirm nothing.
    """
    figures = np.asarray(series, dtype=np.float64)
    if not np.isfinite(figures).all() or figures.ndim != 1:
        raise ValueError("wanted a series of finite figures")
    costs = _costs(figures)
    cuts = _cheapest_cuts(costs)
    random = np.random.default_rng(seed)
    while cuts:
        borders = [0, *cuts, len(figures)]
        steps = [
            _step(figures, before, cut, after, random)
            for before, cut, after in zip(borders, borders[1:], borders[2:], strict=False)
        ]
        weakest = max(steps, key=lambda step: step.p_value)
        if weakest.p_value <= alpha / len(steps):
            return steps
        cuts.remove(weakest.index)
    return []


def _costs(figures: NDArray[np.float64]) -> NDArray[np.float64]:
    """costs[i, j]: the sum of absolute deviations of figures i … j - 1 from their median."""
    n = len(figures)
    costs = np.zeros((n + 1, n + 1))
    for i in range(n):
        ordered: list[float] = []
        for j in range(i, n):
            bisect.insort(ordered, float(figures[j]))
            half = len(ordered) // 2
            costs[i, j + 1] = sum(ordered[-half:]) - sum(ordered[:half]) if half else 0.0
    return costs


def _cheapest_cuts(costs: NDArray[np.float64]) -> list[int]:
    """The segmentation with the least information criterion, over all numbers of segments: exact, by recursion."""
    n = len(costs) - 1
    most = max(1, n // FEWEST)
    least = np.full((most + 1, n + 1), np.inf)  # least[k, j]: of the first j figures in k segments
    last = np.zeros((most + 1, n + 1), dtype=int)
    least[0, 0] = 0.0
    floor = 1e-12 * max(float(costs[0, n]), 1e-300)  # a perfect fit has a logarithm too
    best, best_k = math.inf, 1
    for k in range(1, most + 1):
        for j in range(FEWEST * k, n + 1):
            starts = np.arange(FEWEST * (k - 1), j - FEWEST + 1)
            totals = least[k - 1, starts] + costs[starts, j]
            least[k, j], last[k, j] = totals.min(), starts[totals.argmin()]
        if n >= FEWEST * k:
            # Laplace noise: each segment has a level and a place
            criterion = 2 * n * math.log(max(least[k, n], floor) / n) + 3 * (k - 1) * math.log(n)
            if criterion < best:
                best, best_k = criterion, k
            elif k > best_k + 10:
                break
    cuts, j = [], n
    for k in range(best_k, 1, -1):
        j = int(last[k, j])
        cuts.append(j)
    return cuts[::-1]


def _step(figures: NDArray[np.float64], before: int, cut: int, after: int, random: np.random.Generator) -> Step:
    ranks = _ranks(figures[before:after])
    found = _largest_step(ranks[None])[0]
    shuffled = random.permuted(np.repeat(ranks[None], PERMUTATIONS, axis=0), axis=1)
    as_large = int((_largest_step(shuffled) >= found * (1 - 1e-9)).sum())
    levels = float(np.median(figures[before:cut])), float(np.median(figures[cut:after]))
    return Step(cut, *levels, (1 + as_large) / (1 + PERMUTATIONS))


def _ranks(figures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks (n,) of figures (n,), 0 in the mean; equal ones share a rank, since processors differ in sorting them."""
    ordered = np.sort(figures)
    below, up_to = (ordered.searchsorted(figures, side) for side in ("left", "right"))
    return (below + up_to - len(figures)) / 2


def _largest_step(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest standardised difference of mean ranks before and after any cut of each row of ranks (rows, n)."""
    n = ranks.shape[1]
    sums = np.abs(np.cumsum(ranks, axis=1)[:, :-1])
    sizes = np.arange(1, n)
    largest: NDArray[np.float64] = (sums / np.sqrt(sizes * (n - sizes))).max(axis=1)
    return largest
