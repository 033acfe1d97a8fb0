"""A comparison for people and for programs: table, Markdown for a pull request, JSON."""

from __future__ import annotations

import html
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchsuite.files import atomic_write, write_json
from benchsuite.record import Cell, Metric, Record
from benchsuite.report.columns import markdown_table, padded
from benchsuite.verdicts.compare import Comparison, Key
from benchsuite.verdicts.judge import Outcome, Verdict
from benchsuite.verdicts.where import where_it_moved

SCHEMA = 1
GITHUB_LIMIT = 65_000  # characters of a comment or a job summary that GitHub shows
MOST_CELLS = 10  # whose moved parts the table tells
GRAVEST_FIRST: tuple[Outcome, ...] = (
    "worse", "missing", "not comparable", "cannot tell", "better", "same", "not compared", "not gated",
)  # fmt: skip
GRAVE = GRAVEST_FIRST[:3]
COLOURS = {"worse": "red", "missing": "red", "not comparable": "red", "cannot tell": "yellow", "better": "green"}
HEADINGS = ("verdict", "cell", "metric", "base", "head", "change", "95 % interval", "budget", "p", "p corrected")


@dataclass(frozen=True)
class Report:
    """A comparison with the names of its two sides, and where each regressed cell moved."""

    base: str
    head: str
    comparison: Comparison
    moved_where: Mapping[str, Sequence[str]]  # the label of a cell -> what moved in it


def make_report(
    names: tuple[str, str], base: Mapping[Key, Record], head: Mapping[Key, Record], comparison: Comparison
) -> Report:
    """The report of a comparison; `names` are what its two sides are called."""
    regressed: dict[Cell, list[str]] = {}
    for verdict in comparison.of("worse"):
        regressed.setdefault(verdict.cell, []).append(verdict.metric)
    moved = {
        cell.label(): where_it_moved(base[cell.key()], head[cell.key()], metrics) for cell, metrics in regressed.items()
    }
    return Report(*names, comparison, {label: lines for label, lines in moved.items() if lines})


def write_reports(report: Report, *, everything: bool, markdown_file: Path | None, json_file: Path | None) -> None:
    """Write the Markdown and the JSON where a file is named, and print the table."""
    if markdown_file:
        atomic_write(markdown_file, markdown(report))
    if json_file:
        write_json(json_file, to_json(report))
    try:
        click.echo(text_table(report, everything=everything, colour="NO_COLOR" not in os.environ), nl=False)
    except BrokenPipeError:  # `… | head` has read enough; the status stays what it is
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def text_table(report: Report, *, everything: bool, colour: bool) -> str:
    """The verdicts as a table, the gravest first; those that say nothing new only where `everything` is asked for."""
    shown = [verdict for verdict in _sorted(report.comparison.verdicts) if everything or _tells_something(verdict)]
    headings = _headings(report.comparison)
    rows = [headings, *(_row(verdict) for verdict in shown)]
    lines = [f"BASE {report.base}", f"HEAD {report.head}", ""]
    for index, cells in enumerate(padded(rows, left=3) if shown else []):
        if colour:
            cells[0] = click.style(cells[0], fg=COLOURS.get(rows[index][0]), bold=index == 0)
        lines.append("  ".join(cells).rstrip())
        if index and shown[index - 1].reason:
            lines.append(f"    {shown[index - 1].reason}")
    for label, moved in list(report.moved_where.items())[:MOST_CELLS]:
        lines += ["", f"{label}: where it moved", *(f"    {line}" for line in moved)]
    if len(report.moved_where) > MOST_CELLS:
        lines += ["", f"where {len(report.moved_where) - MOST_CELLS:,} more cells moved is in the JSON (--json)"]
    lines += ["", *report.comparison.notes, summary(report.comparison)]
    return "\n".join(lines) + "\n"


def markdown(report: Report) -> str:
    """The verdicts for a pull request: the gravest in sight, the rest folded, no longer than GitHub shows."""
    comparison = report.comparison
    sign = {0: "✅", 1: "❌", 3: "⚠️"}[comparison.exit_status]
    head = [f"### {sign} {summary(comparison)}", "", f"`{report.base}` → `{report.head}`", ""]
    head += [f"> {note}" + "\n" for note in comparison.notes]
    folded: list[tuple[str, list[str]]] = []
    for outcome in GRAVEST_FIRST:
        verdicts = comparison.of(outcome)
        if verdicts:
            folded.append((f"{len(verdicts):,} {outcome}", _markdown_table(verdicts, _headings(comparison))))
    at = sum(bool(comparison.of(outcome)) for outcome in GRAVE)
    folded[at:at] = [
        (f"Where {label} moved", ["", *(f"- {_escaped(line)}" for line in moved)])
        for label, moved in report.moved_where.items()
    ]
    text = "\n".join(head) + "\n"
    for title, lines in folded:
        opened = " open" if title.endswith(GRAVE) else ""
        text += _fitting(f"<details{opened}><summary>{title}</summary>\n", lines, GITHUB_LIMIT - len(text))
    return text


def to_json(report: Report) -> dict[str, Any]:
    """The verdicts for programs; changes are shares where `ratio` is true, else in the metric's unit."""
    comparison = report.comparison
    return {
        "schema": SCHEMA,
        "base": report.base,
        "head": report.head,
        "exit_status": comparison.exit_status,
        "level": 1 - comparison.alpha,
        "gated_tests": comparison.tests,
        "counts": {outcome: len(comparison.of(outcome)) for outcome in GRAVEST_FIRST},
        "notes": list(comparison.notes),
        "verdicts": [_verdict_to_json(verdict) for verdict in comparison.verdicts],
        "moved_where": {label: list(lines) for label, lines in report.moved_where.items()},
    }


def summary(comparison: Comparison) -> str:
    """One line: how many of each verdict, after the correction for how many tests."""
    counts = [f"{len(found):,} {outcome}" for outcome in GRAVEST_FIRST if (found := comparison.of(outcome))]
    moved = sum(verdict.moved and verdict.outcome == "same" for verdict in comparison.verdicts)
    inside = f" ({moved:,} moved inside their budgets)" if moved else ""
    counts = [text + inside if text.endswith(" same") else text for text in counts]
    return f"{', '.join(counts) or 'nothing to compare'}; {comparison.tests:,} gated tests, corrected after Holm"


def message(verdict: Verdict) -> str:
    """One verdict as a sentence, for the failure of a test."""
    row = dict(zip(HEADINGS, _row(verdict), strict=True))
    if verdict.base is None or verdict.head is None:
        return f"{verdict.label}: {verdict.outcome}: {verdict.reason}"
    interval = f" [{row['95 % interval']}]" if row["95 % interval"] else ""
    budget = f", budget {row['budget']}" if row["budget"] else ""
    p_value = f", p = {row['p']}, corrected {row['p corrected']}" if row["p"] else ""
    reason = f": {verdict.reason}" if verdict.reason else ""
    return (
        f"{verdict.label}: {verdict.outcome}: {row['base']} → {row['head']}, {row['change']}{interval}{budget}{p_value}"
        f"{reason}"
    )


def _headings(comparison: Comparison) -> tuple[str, ...]:
    level = f"{100 * (1 - comparison.alpha):.3g} % interval"
    return tuple(level if heading == "95 % interval" else heading for heading in HEADINGS)


def _sorted(verdicts: Sequence[Verdict]) -> list[Verdict]:
    return sorted(verdicts, key=lambda verdict: GRAVEST_FIRST.index(verdict.outcome))


def _tells_something(verdict: Verdict) -> bool:
    return verdict.outcome not in ("same", "not compared", "not gated") or (
        verdict.moved and verdict.budget is not None
    )


def _row(verdict: Verdict) -> tuple[str, ...]:
    ends = verdict.interval
    return (
        verdict.outcome,
        verdict.cell.label(),
        verdict.metric,
        _figure(verdict.base),
        _figure(verdict.head),
        "" if verdict.change is None else _change(verdict, verdict.change),
        "" if ends is None else f"{_change(verdict, ends[0])} … {_change(verdict, ends[1])}",
        _budget(verdict),
        "" if verdict.p_value is None else _p(verdict.p_value),
        "" if verdict.p_corrected is None else _p(verdict.p_corrected),
    )


def _figure(metric: Metric | None) -> str:
    if metric is None:
        return ""
    if metric.unit == "B":
        return f"{metric.value:,.0f} B"
    if metric.unit == "share":
        return f"{100 * metric.value:.2f} %"
    return f"{metric.value:,.0f}" if abs(metric.value) >= 10_000 else f"{metric.value:.5g}"


def _change(verdict: Verdict, change: float) -> str:
    if verdict.ratio:
        percent = 100 * change
        return f"{percent:+.1f} %" if abs(percent) >= 10 else f"{percent:+.3f} %"
    if verdict.base is not None and verdict.base.unit == "share":
        return f"{100 * change:+.2f} pt"
    return f"{change:+.3g}"


def _budget(verdict: Verdict) -> str:
    if verdict.budget is None or verdict.base is None:
        return ""
    if verdict.base.unit == "share" and not verdict.budget.relative:
        return f"{100 * verdict.budget.number:g} pt"
    return str(verdict.budget)


def _p(p_value: float) -> str:
    return "<1e-6" if p_value < 1e-6 else f"{p_value:.2g}"


def _markdown_table(verdicts: Sequence[Verdict], headings: Sequence[str]) -> list[str]:
    rows = [[_escaped(text) for text in (*_row(verdict)[1:], verdict.reason)] for verdict in verdicts]
    return ["", *markdown_table([[*headings[1:], ""], *rows], left=len(headings))]


def _escaped(text: str) -> str:
    """A text inside of Markdown that is no part of its marks."""
    return html.escape(" ".join(text.split()), quote=False)


def _fitting(opening: str, lines: Sequence[str], room: int) -> str:
    """A folded block of as many `lines` as there is room for; nothing where not even its opening fits."""
    closing, left_out = "\n</details>\n\n", "\n… {} more lines do not fit here"
    room -= len(opening) + len(closing) + len(left_out) + 10
    if room < 400:
        return ""
    kept, used = 0, 0
    for line in lines:
        used += len(line) + 1
        if used > room:
            break
        kept += 1
    rest = left_out.format(f"{len(lines) - kept:,}") if kept < len(lines) else ""
    return opening + "\n".join(lines[:kept]) + rest + closing


def _verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    base, head = verdict.base, verdict.head
    return {
        "cell": verdict.cell.to_json(),
        "label": verdict.cell.label(),
        "metric": verdict.metric,
        "verdict": verdict.outcome,
        "reason": verdict.reason,
        "base": base and base.value,
        "head": head and head.value,
        "unit": (base or head or Metric(0, "", None)).unit,
        "ratio": verdict.ratio,
        "change": _finite(verdict.change),
        "interval": verdict.interval and [_finite(end) for end in verdict.interval],
        "budget": str(verdict.budget) if verdict.budget else None,
        "p_value": verdict.p_value,
        "p_corrected": verdict.p_corrected,
        "moved": verdict.moved,
    }


def _finite(figure: float | None) -> float | None:
    return figure if figure is not None and math.isfinite(figure) else None
