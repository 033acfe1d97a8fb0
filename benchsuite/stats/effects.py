"""A change between two measurements, whatever test it comes from, and Holm's correction over many of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

Interval = tuple[float, float]


class Effect(Protocol):
    """How much larger the second of two measurements is than the first, and what that claim is worth.

    The two p-values are one-sided and together are the confidence distribution that `interval` is cut from: the
    95 % interval ends where one of them reaches 2.5 %.
    """

    @property
    def value(self) -> float:
        """The best guess."""

    def p_at_most(self, bound: float) -> float:
        """One-sided p-value of "the true change is at most `bound`"."""

    def p_at_least(self, bound: float) -> float:
        """One-sided p-value of "the true change is at least `bound`"."""

    def interval(self, level: float = 0.95) -> Interval:
        """The two-sided interval."""


def two_sided(effect: Effect, bound: float = 0.0) -> float:
    """Two-sided p-value of "the true change is `bound`"."""
    return min(1.0, 2 * min(effect.p_at_most(bound), effect.p_at_least(bound)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, same order (Holm, 1979): rejecting those up to 5 % errs anywhere in at most 5 % of runs."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def invert(effect: Effect, level: float, low: float, high: float) -> Interval:
    """The interval of `effect` by bisection of its p-values between `low` and `high`, to 10⁻⁸."""
    tail = (1 - level) / 2
    return (
        _first(lambda bound: effect.p_at_most(bound) >= tail, low, high),
        -_first(lambda bound: effect.p_at_least(-bound) >= tail, -high, -low),
    )


def _first(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Where `holds`, false and then true, turns between `low` and `high`; the end that is still outside."""
    if holds(low):
        return low
    while high - low > 1e-8:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return low
