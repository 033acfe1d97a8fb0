"""The history of metrics for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchsuite.report.columns import aligned
from benchsuite.verdicts.history import NEEDED, Series, SeriesStep
from benchsuite.verdicts.judge import counted

SCHEMA = 1
HEADINGS = ("cell", "metric", "commit", "time (UTC)", "before", "after", "change", "", "confidence")


def history_table(series: Sequence[Series], *, everything: bool) -> str:
    """A row per step; the values of every run of every series too where `everything` is asked for."""
    rows = [HEADINGS, *(_row(one, step) for one in series for step in one.steps)]
    lines = aligned(rows, left=len(HEADINGS)) if len(rows) > 1 else ["no step"]
    if everything:
        for one in series:
            lines += ["", f"{one.cell.label()} {one.metric} ({one.unit})"]
            stepped = {step.first.path for step in one.steps}
            lines += [
                f"    {run.name:<12} {run.time[:19]:<19} {value:.6g}" + ("  <- step" if run.path in stepped else "")
                for run, value in zip(one.runs, one.values, strict=True)
            ]
    steps = sum(len(one.steps) for one in series)
    lines += [
        "",
        f"{counted(steps, 'step')} in {len(series)} series of "
        f"{counted(len({run.path for one in series for run in one.runs}), 'run')}",
    ]
    if short := sum(not one.can_confirm for one in series):
        lines.append(f"{short} series of a speed or a peak: fewer than {NEEDED} runs cannot confirm a step there")
    return "\n".join(lines) + "\n"


def history_to_json(series: Sequence[Series]) -> dict[str, Any]:
    """All values and steps."""
    return {
        "schema": SCHEMA,
        "series": [
            {
                "cell": one.cell.to_json(),
                "label": one.cell.label(),
                "metric": one.metric,
                "unit": one.unit,
                "better": one.better,
                "runs": [
                    {"file": str(run.path), "commit": run.commit, "dirty": run.dirty, "time": run.time, "value": value}
                    for run, value in zip(one.runs, one.values, strict=True)
                ],
                "steps": [
                    {
                        "commit": step.first.commit,
                        "last_commit_before": step.last.commit,
                        "file": str(step.first.path),
                        "before": step.before,
                        "after": step.after,
                        "worse": _is_worse(one, step),
                        "p_value": step.p_value,
                    }
                    for step in one.steps
                ],
            }
            for one in series
        ],
    }


def _row(one: Series, step: SeriesStep) -> tuple[str, ...]:
    if one.unit == "share":
        before, after = f"{100 * step.before:.2f} %", f"{100 * step.after:.2f} %"
        change = f"{100 * (step.after - step.before):+.2f} pt"
    else:
        before, after = f"{step.before:.6g}", f"{step.after:.6g}"
        change = f"{100 * (step.after / step.before - 1):+.3g} %" if step.before else f"{step.after - step.before:+.3g}"
    confidence = "exact" if step.p_value is None else f"{100 * (1 - step.p_value):.3g} %"
    verdict = "worse" if _is_worse(one, step) else "better"
    return (
        one.cell.label(),
        one.metric,
        step.first.name,
        step.first.time[:19],
        before,
        after,
        change,
        verdict,
        confidence,
    )


def _is_worse(one: Series, step: SeriesStep) -> bool:
    return (step.after > step.before) == (one.better == "lower")
