"""What one evaluation found, and the pieces that all of them share. No torch in here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchsuite.record import Better, Items, Metric, Values, Windows
from benchsuite.stats import mean_interval, perplexity_interval, proportion_interval

Progress = Callable[[int, int], None]  # (done, of how many)
SAMPLES = 3  # how many items a record shows
SAMPLE_CHARACTERS = 400


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found.

    `protocol` is everything that fixes the numbers besides model and data; `details` are findings that are no metric
    (counts, the report of each class, the confusion matrix); `items` holds every prompt, answer and score, `samples` a
    few of them cut to a length that a record can carry; `excluded` counts what was cut or left out, by reason.
    All of it is JSON-able but the metrics.
    """

    metrics: Mapping[str, Metric]
    protocol: Mapping[str, Any]
    items: tuple[Mapping[str, Any], ...] = ()
    excluded: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> tuple[dict[str, Any], ...]:
        """The first few items, long texts cut in the middle."""
        return tuple({key: _cut(value) for key, value in item.items()} for item in self.items[:SAMPLES])


@dataclass(frozen=True)
class Work:
    """One representative batch for the clock: `run` does what `evaluate` does for it, the same each time."""

    run: Callable[[], object]
    tokens: int
    samples: int


def quiet(done: int, total: int) -> None:
    """Report no progress."""


def share(outcomes: ArrayLike) -> Metric:
    """The share of right items (n,), with its exact interval."""
    outcomes = np.asarray(outcomes, dtype=bool)
    right = int(outcomes.sum())
    return Metric(
        right / outcomes.size,
        "share",
        "higher",
        proportion_interval(right, outcomes.size),
        outcomes.size,
        Items(outcomes),
    )


def mean(values: ArrayLike, unit: str, better: Better) -> Metric:
    """The mean of one figure an item (n,)."""
    values = np.asarray(values, dtype=np.float64)
    evidence = Values(values, np.arange(values.size))
    return Metric(float(values.mean()), unit, better, mean_interval(values), values.size, evidence)


def mean_of_windows(
    figures: Sequence[NDArray[np.float64]], cluster: NDArray[np.int64], unit: str, better: Better
) -> Metric:
    """The mean of one figure a token over windows of tokens; the evidence is the mean of each window."""
    values, sizes = np.array([part.mean() for part in figures]), np.array([part.size for part in figures])
    interval, evidence = mean_interval(values, cluster, sizes), Values(values, cluster, sizes)
    return Metric(float(np.average(values, weights=sizes)), unit, better, interval, int(sizes.sum()), evidence)


def perplexity(windows: Windows, unit: str = "ppl") -> Metric:
    """exp(-Σ log-likelihood / Σ tokens); infinite, which no record takes, where it `overflows`."""
    value = math.inf if overflows(windows) else math.exp(_loss(windows))
    interval = perplexity_interval(windows.log_likelihood, windows.tokens, windows.cluster)
    return Metric(value, unit, "lower", interval, int(windows.tokens.sum()), windows)


def overflows(windows: Windows) -> bool:
    """Whether the perplexity is beyond the largest number: a page without blanks is a single word."""
    return _loss(windows) > 700


def bits_per_byte(windows: Windows) -> Metric:
    """-Σ log-likelihood / Σ bytes, in bits; `windows.tokens` are bytes."""
    interval = perplexity_interval(windows.log_likelihood, windows.tokens, windows.cluster)
    ends = None if interval is None else (math.log2(interval[0]), math.log2(interval[1]))
    n = int(windows.tokens.sum())
    return Metric(_loss(windows) / math.log(2), "bits/byte", "lower", ends, n, windows)


def batch_invariance(batched: ArrayLike, alone: ArrayLike) -> Metric:
    """The largest change of an item's log-likelihood between the batch size used and batch size 1, both (n,)."""
    change = np.abs(np.asarray(batched, dtype=np.float64) - np.asarray(alone, dtype=np.float64))
    return Metric(float(change.max()), "nats", "lower", n=change.size)


def windows(log_likelihood: Sequence[float], tokens: Sequence[int], cluster: Sequence[int] | None = None) -> Windows:
    """Evidence of the sums of windows (n,); each is its own cluster where none is given."""
    return Windows(
        np.asarray(log_likelihood, dtype=np.float64),
        np.asarray(tokens, dtype=np.int64),
        np.asarray(range(len(tokens)) if cluster is None else cluster, dtype=np.int64),
    )


def counted(**reasons: int) -> dict[str, int]:
    """Exclusions that happened, the underscores of their names read as spaces."""
    return {reason.replace("_", " "): count for reason, count in reasons.items() if count}


def _loss(windows: Windows) -> float:
    return -float(windows.log_likelihood.sum()) / int(windows.tokens.sum())


def _cut(value: Any) -> Any:
    if not isinstance(value, str) or len(value) <= SAMPLE_CHARACTERS:
        return value
    half = SAMPLE_CHARACTERS // 2
    return f"{value[:half]} … {value[-half:]}"
