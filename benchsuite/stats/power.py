"""What a comparison of rounds will find, before it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special

RANKS = math.pi / 3  # variance of the Hodges-Lehmann estimate over that of the mean, for normal figures
MEDIAN = math.pi / 2  # the same of the median


@dataclass(frozen=True)
class Design:
    """A comparison of two sides of `runs` runs with `rounds` rounds each, on a machine whose spreads are known.

    `between` is the standard deviation of the log of a run's median, estimated with `df` degrees of freedom from runs
    of `measured_rounds` rounds; `within` that of the log of a round within its run.
    """

    between: float
    within: float
    df: float
    measured_rounds: int
    rounds: int
    runs: int = 1

    def power(self, change: float, *, margin: float = 0.0) -> float:
        """The chance that a true log ratio of `change` is found to be above `margin`."""
        threshold, deviation = self._threshold()
        return float(special.ndtr((change - margin - threshold) / deviation))

    def smallest(self, power: float = 0.9, *, margin: float = 0.0) -> float:
        """The smallest log ratio that is found to be above `margin` with that chance."""
        threshold, deviation = self._threshold()
        return margin + threshold + float(special.ndtri(power)) * deviation

    def _threshold(self) -> tuple[float, float]:
        """How far above the margin the estimate has to lie, and the deviation of the estimate from that.

        The test adds the spread of its own rounds to the whole of `between`; degrees of freedom after Welch and
        Satterthwaite. That the threshold is itself an estimate costs its variance, t² / 2 df of the error's.
        """
        own = max(self.between**2 - MEDIAN * self.within**2 / self.measured_rounds, 0.0)
        noise, sides = self.between**2, 2 / self.runs
        spread = self.within**2 + (own if self.runs > 1 else 0.0)  # runs that differ spread the pooled rounds
        exact = 1 + 1 / (self.runs * self.rounds)  # an exact test of few rounds keeps below its level
        rounds = exact * RANKS * spread / self.rounds
        if not noise + rounds:
            return 0.0, 1e-300
        df = (noise + rounds) ** 2 / (noise**2 / self.df + rounds**2 / (2 * self.runs * self.rounds - 2))
        reach = float(special.stdtrit(df, 0.975)) * math.sqrt(sides * (noise + rounds))  # two-sided, at 95 %
        variance = sides * (own + RANKS * self.within**2 / self.rounds) + reach**2 / (2 * df)
        return reach * (1 - 1 / (4 * df)), math.sqrt(variance)
