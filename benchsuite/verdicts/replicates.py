"""Several runs of the same code: what they say together, and how far they lie apart."""

from __future__ import annotations

import collections
import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchsuite.errors import UsageError
from benchsuite.record import Metric, Record, Rounds
from benchsuite.verdicts.compare import Comparison, Key, Policy, compare
from benchsuite.verdicts.noise import NoiseFloor, Spread, kind

Run = Mapping[Key, Record]
FEW_DEGREES = 4  # of freedom: fewer say so little of a spread that its interval is several times as wide


def compare_runs(base: Sequence[Run], head: Sequence[Run], policy: Policy) -> Comparison:
    """The comparison of several runs a side.

    The noise between runs is what these runs themselves show. Where they are too few to say, the machine's noise floor
    counts, if there is one, and never less than they show.
    """
    merged = merge_runs(base)
    machine = next((str(record.machine.get("fingerprint", "")) for record in merged.values() if record.machine), "")
    floor = _noise(noise_of_runs((base, head), machine), policy.noise(machine))
    comparison = compare(merged, merge_runs(head), dataclasses.replace(policy, noise=lambda _: floor))
    notes = [f"runs: {len(base)} of BASE, {len(head)} of HEAD"]
    if unsteady := sorted({*unsteady_metrics(base), *unsteady_metrics(head)}):
        notes.append(f"not deterministic here: {', '.join(unsteady[:5])}; their evidence is the first run's")
    return dataclasses.replace(comparison, notes=(*comparison.notes, *notes))


def require_one_program(runs: Sequence[Run], names: Sequence[str]) -> None:
    """UsageError where runs that are to be pooled are of other weights, data, protocols or machines than the first."""
    known: dict[Key, tuple[str, dict[str, Any]]] = {}
    for run, name in zip(runs, names, strict=True):
        for key, record in run.items():
            if record.status == "passed":  # the others know nothing of what they would have measured
                told = {**record.fingerprints, "machine": record.machine.get("fingerprint")}
                other, first = known.setdefault(key, (name, told))
                if differing := [what for what in first | told if first.get(what) != told.get(what)]:
                    raise UsageError(
                        f"{other} and {name} are not runs of one program: {record.cell.label()} differs in "
                        f"{', '.join(differing)}; give one of them, or compare the two with each other"
                    )


def _noise(own: NoiseFloor | None, known: NoiseFloor | None) -> NoiseFloor | None:
    if own is None or known is None:
        return own or known
    spreads = dict(known.spreads)
    for label, spread in own.spreads.items():
        floor = known.spreads.get(label)
        if floor is None or spread.df >= FEW_DEGREES:
            spreads[label] = spread
        else:
            spreads[label] = dataclasses.replace(floor, between=max(spread.between, floor.between))
    return NoiseFloor(own.machine, spreads, own.runs)


def merge_runs(runs: Sequence[Run]) -> dict[Key, Record]:
    """One record per cell: the rounds of all runs together, the median of bytes, quality from the first run.

    A cell that any run lacks or failed has failed; a metric that any run lacks is missing.
    """
    merged = {}
    for key in dict.fromkeys(key for run in runs for key in run):
        found = [run[key] for run in runs if key in run]
        statuses = ("failed", "skipped")
        unwell = next((record for status in statuses for record in found if record.status == status), None)
        if unwell is None and len(found) < len(runs):
            unwell = dataclasses.replace(found[0], status="failed", reason=f"absent from {len(runs) - len(found)} runs")
        merged[key] = unwell or dataclasses.replace(
            found[0],
            metrics={
                name: _merge([record.metrics[name] for record in found])
                for name in found[0].metrics
                if all(name in record.metrics for record in found)
            },
        )
    return merged


def unsteady_metrics(runs: Sequence[Run]) -> list[str]:
    """The quality metrics that differ between runs of the same code: they are not deterministic on this machine."""
    found = []
    for key, record in runs[0].items():
        for name, metric in record.metrics.items():
            if metric.evidence is None or isinstance(metric.evidence, Rounds):
                continue
            others = [run[key].metrics.get(name) for run in runs[1:] if key in run]
            if any(other is not None and other.value != metric.value for other in others):
                found.append(f"{record.cell.label()} {name}")
    return found


def noise_of_runs(sides: Sequence[Sequence[Run]], machine: str) -> NoiseFloor | None:
    """The spread of each kind of measurement, from runs of the same code within each side.

    None where no side has two runs. The runs of the sides are pooled for a ratio of one side's to the other's. Cells of
    a run share what befell that run, so the degrees of freedom are not runs times cells but, for residuals R (runs,
    cells), n ‖R‖⁴ / ‖R Rᵀ‖² with n = runs - sides: n where all cells move together, at most n² where none do.
    """
    free = sum(len(runs) - 1 for runs in sides)
    if free < 1:
        return None
    residuals: dict[str, list[NDArray[np.float64]]] = collections.defaultdict(list)
    within: dict[str, list[float]] = collections.defaultdict(list)
    rounds: dict[str, list[int]] = collections.defaultdict(list)
    for key, name, label in _noisy(sides):
        logs = [[np.log(_figures(run[key].metrics[name])) for run in runs] for runs in sides]
        medians = [np.array([np.median(times) for times in side]) for side in logs]
        residuals[label].append(np.concatenate([side - side.mean() for side in medians]))
        within[label].append(_robust_deviation([times for side in logs for times in side]))
        rounds[label] += [times.size for side in logs for times in side]
    spreads = {}
    for label, columns in residuals.items():
        matrix = np.stack(columns, axis=1)  # (runs, cells)
        total = float(np.square(matrix).sum())
        gram = float(np.square(matrix @ matrix.T).sum())
        df = max(1, math.floor(free * total**2 / gram)) if gram else free
        between = math.sqrt(total / free / matrix.shape[1])
        spreads[label] = Spread(between, statistics.median(within[label]), df, min(rounds[label]))
    return NoiseFloor(machine, spreads, (len(sides[0]), len(sides[-1])))


def _merge(metrics: Sequence[Metric]) -> Metric:
    first = metrics[0]
    if isinstance(first.evidence, Rounds):
        parts = [metric.evidence for metric in metrics if isinstance(metric.evidence, Rounds)]
        seconds = np.concatenate([rounds.seconds * (first.evidence.work / rounds.work) for rounds in parts])
        median = float(np.median(seconds))
        value = first.evidence.work / median if first.better == "higher" else median / first.evidence.work
        return dataclasses.replace(first, value=value, n=seconds.size, evidence=Rounds(seconds, first.evidence.work))
    if first.evidence is None:
        return dataclasses.replace(first, value=statistics.median(metric.value for metric in metrics))
    return first


def _noisy(sides: Sequence[Sequence[Run]]) -> Iterable[tuple[Key, str, str]]:
    """The cell, the name and the kind of every clock and peak of memory that all runs have read."""
    runs = [run for side in sides for run in side]
    for key, record in runs[0].items():
        for name in record.metrics:
            if all(key in run and name in run[key].metrics and _figures(run[key].metrics[name]).size for run in runs):
                yield key, name, kind(record.cell, name)


def _figures(metric: Metric) -> NDArray[np.float64]:
    """The rounds of a clock, the one figure of a peak of memory; nothing of any other metric."""
    if isinstance(metric.evidence, Rounds):
        return metric.evidence.seconds
    return np.array([metric.value] if metric.unit == "B" and metric.value > 0 else [])


def _robust_deviation(runs: Sequence[NDArray[np.float64]]) -> float:
    """The standard deviation of a round within its run, by the median absolute deviation: stragglers do not count."""
    distances = np.concatenate([np.abs(times - np.median(times)) for times in runs])
    return 1.4826 * float(np.median(distances))
