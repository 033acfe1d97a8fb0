"""Intervals and tests on plain arrays; knows nothing of models.

Every interval is for 95 % unless told otherwise, and every test's docstring says what its p-value is the chance of.
`tests/stats` simulates each of them: how often the interval holds the truth, how often the test cries wolf.
"""

from benchsuite.stats.intervals import ClusteredMean, mean_interval, perplexity_interval, proportion_interval

__all__ = ["ClusteredMean", "mean_interval", "perplexity_interval", "proportion_interval"]
