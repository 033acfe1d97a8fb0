"""Each metric over the runs in pytest-benchmark's storage, and the commits at which it stepped."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from benchsuite.errors import FileFormatError
from benchsuite.record import Cell, Metric, Record
from benchsuite.records import object_in, read_document, records_of
from benchsuite.stats import find_steps, holm
from benchsuite.verdicts.budgets import metric_class
from benchsuite.verdicts.compare import Key, by_cell
from benchsuite.verdicts.judge import Test, judge

UNCERTAIN = ("speed", "memory", None)  # classes whose figures differ between runs of one commit
NEEDED = 8  # runs below which no step of an uncertain figure can be confirmed


@dataclass(frozen=True)
class StoredRun:
    """One file of pytest-benchmark's storage."""

    path: Path
    commit: str  # SHA; empty where it was not in a repository
    time: str  # ISO 8601 in UTC, of the commit where there is one, else of the run; empty where it cannot be read
    dirty: bool
    records: Mapping[Key, Record]

    @property
    def name(self) -> str:
        """The commit, shortened, with a + where there were changes on top; else the file."""
        return self.commit[:10] + "+" * self.dirty if self.commit else self.path.stem


@dataclass(frozen=True)
class SeriesStep:
    """A metric that changed between two runs that follow each other in its series."""

    last: StoredRun  # the last run before
    first: StoredRun  # the first run after: its commit moved the metric, or one since `last`
    before: float
    after: float
    p_value: float | None  # None: an exact figure, which needs no test


@dataclass(frozen=True)
class Series:
    """One metric of one cell over the runs that can be compared, the oldest first."""

    cell: Cell
    metric: str
    unit: str
    better: str | None
    runs: tuple[StoredRun, ...]
    values: tuple[float, ...]
    steps: tuple[SeriesStep, ...]
    is_uncertain: bool  # its figures differ between runs of one commit

    @property
    def can_confirm(self) -> bool:
        """Whether a step could have been confirmed at all."""
        return not self.is_uncertain or len(self.runs) >= NEEDED


def read_run(path: Path) -> StoredRun:
    """A stored run with its commit; FileFormatError where the file holds no records."""
    document = read_document(path)
    commit = object_in(document, "commit_info")
    return StoredRun(
        path,
        str(commit.get("id") or ""),
        _in_utc(str(commit.get("time") or document.get("datetime"))),
        bool(commit.get("dirty")),
        by_cell([(path, records_of(document, path))]),
    )


def _in_utc(time: str) -> str:
    """A time of git or pytest-benchmark, which name their own offsets, so that it sorts; without one it is UTC."""
    try:
        moment = datetime.fromisoformat(time.replace("Z", "+00:00"))  # Python 3.10 knows no Z
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc).astimezone(timezone.utc).isoformat()
    except (ValueError, OverflowError):  # the last: beyond year 1 or 9999 in UTC
        return ""


def read_runs(paths: Iterable[Path], left_out: Callable[[FileFormatError], None]) -> list[StoredRun]:
    """The stored runs that hold records; `left_out` hears of each file that does not, other benchmarks say."""
    runs = []
    for path in paths:
        try:
            runs.append(read_run(path))
        except FileFormatError as error:  # noqa: PERF203  each file has its own fault
            left_out(error)
    return runs


def in_order(runs: Sequence[StoredRun], commits: Sequence[str] | None = None) -> list[StoredRun]:
    """The runs of `commits` in their order; all runs by time where there are none."""
    if commits is None:
        return sorted(runs, key=lambda run: (not run.time, run.time, run.path.name))
    place = {commit: index for index, commit in enumerate(commits)}
    return sorted((run for run in runs if run.commit in place), key=lambda run: (place[run.commit], run.path.name))


def series_of(runs: Sequence[StoredRun]) -> list[Series]:
    """Every metric with a good direction, as one series per stretch of runs that can be compared.

    Runs whose fingerprints differ, and for speed and memory those of another machine, are series of their own.
    """
    found: dict[tuple[object, ...], list[tuple[StoredRun, Metric]]] = {}
    for run in runs:
        for key, record in run.records.items():
            for name, metric in record.metrics.items():
                if metric.better is None:
                    continue
                same = tuple(sorted(record.fingerprints.items()))
                here = str(record.machine.get("fingerprint")) if metric_class(name, metric) in UNCERTAIN else None
                found.setdefault((key, name, metric.unit, same, here), []).append((run, metric))
    return [_series(key, name, points) for (key, name, *_), points in found.items()]  # type: ignore[arg-type]


def _series(key: Key, name: str, points: Sequence[tuple[StoredRun, Metric]]) -> Series:
    runs, metrics = zip(*points, strict=True)
    cell = runs[0].records[key].cell
    uncertain = metric_class(name, metrics[0]) in UNCERTAIN
    steps = _noisy_steps(runs, metrics) if uncertain else _certain_steps(cell, name, runs, metrics)
    values = tuple(metric.value for metric in metrics)
    return Series(cell, name, metrics[0].unit, metrics[0].better, runs, values, tuple(steps), uncertain)


def _noisy_steps(runs: Sequence[StoredRun], metrics: Sequence[Metric]) -> list[SeriesStep]:
    values = [metric.value for metric in metrics]
    if min(values) <= 0:
        return []
    return [
        SeriesStep(runs[step.index - 1], runs[step.index], math.exp(step.before), math.exp(step.after), step.p_value)
        for step in find_steps([math.log(value) for value in values])
    ]


def _certain_steps(cell: Cell, name: str, runs: Sequence[StoredRun], metrics: Sequence[Metric]) -> list[SeriesStep]:
    """Where the paired test between a run and the next one, after Holm over the series, is sure of a change."""
    found = [judge(cell, name, one, other, None, None) for one, other in itertools.pairwise(metrics)]
    tested = [index for index, finding in enumerate(found) if isinstance(finding, Test)]
    tests = [finding for finding in found if isinstance(finding, Test)]
    p_values: dict[int, float | None] = dict(zip(tested, holm([test.p_no_change for test in tests]), strict=True))
    steps = []
    for index, finding in enumerate(found):
        p_value = p_values.get(index)
        moved = p_value is not None and p_value <= 0.05 if isinstance(finding, Test) else finding.moved
        if moved:
            values = metrics[index].value, metrics[index + 1].value
            steps.append(SeriesStep(runs[index], runs[index + 1], *values, p_value))
    return steps
