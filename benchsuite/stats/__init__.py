"""Intervals and tests on plain arrays; knows nothing of models.

Every interval is for 95 % unless told otherwise, and every test's docstring says what its p-value is the chance of.
`tests/stats` simulates each of them: how often the interval holds the truth, how often the test cries wolf.
"""

from benchsuite.stats.effects import Effect, Interval, holm, two_sided
from benchsuite.stats.intervals import ClusteredMean, mean_interval, perplexity_interval, proportion_interval
from benchsuite.stats.paired import PairedProportion, loss_difference, mean_difference, paired_proportion
from benchsuite.stats.power import Design
from benchsuite.stats.ranks import LogRatio, RunNoise, log_ratio
from benchsuite.stats.steps import Step, find_steps

__all__ = [
    "ClusteredMean",
    "Design",
    "Effect",
    "Interval",
    "LogRatio",
    "PairedProportion",
    "RunNoise",
    "Step",
    "find_steps",
    "holm",
    "log_ratio",
    "loss_difference",
    "mean_difference",
    "mean_interval",
    "paired_proportion",
    "perplexity_interval",
    "proportion_interval",
    "two_sided",
]
