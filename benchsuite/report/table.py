"""The table of a run: a row per cell, each figure beside its change against the reference precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchsuite.matrix import REFERENCE
from benchsuite.record import Cell, Metric, Record

# the one figure that stands for a question's quality, and the one that stands for its speed
QUALITY = {
    "perplexity": "perplexity",
    "divergence": "kl_mean",
    "exact_match": "exact_match",
    "classification": "accuracy",
    "instructions": "exact_match",
}
SPEED = {"generation": "decode_tokens_per_s", "quantizing": "quantizing_s"}
NAMES = {"perplexity": "ppl", "kl_mean": "nats KL", "exact_match": "exact match", "accuracy": "accuracy"}


def print_summary(records: Sequence[Record], console: Console) -> None:
    """Print the table of the measured cells, then what was skipped, failed or left out, with the reason."""
    measured = [record for record in records if record.status == "passed"]
    references = {record.cell: record for record in measured if record.cell.precision == REFERENCE}
    if measured:
        console.print(_table(measured, references))
        limits = {record.cell.limit for record in measured if record.protocol.get("limit")}
        if limits:
            console.print(
                Text(f"Limited to {limits.pop()} examples a dataset: the intervals say what that leaves open.")
            )
    reasons: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.reason:
            reasons.setdefault((record.status, record.reason.splitlines()[-1]), []).append(record.cell.label())
    for (status, reason), labels in reasons.items():
        more = f" and {len(labels) - 1} more cells" if len(labels) > 1 else ""
        style = {"passed": "", "skipped": "yellow"}.get(status, "red")
        console.print(Text(f"{status}: {labels[0]}{more}: {reason}", style=style))


def _table(measured: Sequence[Record], references: dict[Cell, Record]) -> Table:
    table = Table(title=_title(measured), title_justify="left", header_style="bold", pad_edge=False)
    for heading in ("question", "model", "dataset", "precision"):
        table.add_column(heading, no_wrap=True)
    for heading in ("quality", "change", "speed", "ratio", "weights", "ratio", "peak memory", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    ordered = sorted(enumerate(measured), key=lambda pair: (_place(measured, pair[1]), pair[0]))
    last = None
    for _, record in ordered:
        cell = record.cell
        group = replace(cell, precision="")
        if last is not None and group != last:
            table.add_section()
        last = group
        reference = references.get(replace(cell, precision=REFERENCE))
        base = reference.metrics if reference and reference is not record else {}
        name = QUALITY.get(cell.question, "")
        speed = SPEED.get(cell.question, "tokens_per_s")
        table.add_row(
            cell.question + (f" ×{cell.batch_size}" if cell.question == "generation" else ""),
            cell.model,
            cell.dataset,
            cell.precision,
            _quality(name, record.metrics.get(name)),
            _change(record.metrics.get(name), base.get(name)),
            _speed(record.metrics.get(speed)),
            _ratio(record.metrics.get(speed), base.get(speed)),
            _mebibytes(record.metrics.get("weight_bytes")),
            _ratio(record.metrics.get("weight_bytes"), base.get("weight_bytes") or record.metrics.get("bytes_before")),
            _mebibytes(record.metrics.get("peak_memory_bytes")),
            _ratio(record.metrics.get("peak_memory_bytes"), base.get("peak_memory_bytes")),
        )
    return table


def _title(measured: Sequence[Record]) -> str:
    machine = measured[0].machine
    where = machine.get("gpu", {}).get("name") or machine.get("processor", "")
    return f"benchsuite: {len(measured)} cells on {where}, {machine.get('threads')} threads; ratios to {REFERENCE}"


def _place(measured: Sequence[Record], record: Record) -> int:
    """The place of the first cell of this one's group, so that precisions stand under each other."""
    group = replace(record.cell, precision="")
    return next(place for place, other in enumerate(measured) if replace(other.cell, precision="") == group)


def _quality(name: str, metric: Metric | None) -> str:
    if metric is None:
        return ""
    if metric.unit == "share":
        spread = f" ± {_half_width(metric) * 100:.1f}" if metric.interval else ""
        return f"{metric.value * 100:.1f} %{spread} {NAMES.get(name, name)}"
    return f"{metric.value:.4g} {NAMES.get(name, name)}"


def _half_width(metric: Metric) -> float:
    low, high = metric.interval or (metric.value, metric.value)
    return (high - low) / 2


def _change(metric: Metric | None, base: Metric | None) -> Text:
    if metric is None or base is None:
        return Text("")
    if metric.unit == "share":
        change = (metric.value - base.value) * 100
        text = f"{change:+.1f} pt"
    else:
        change = (metric.value / base.value - 1) * 100
        text = f"{change:+.2f} %"
    worse = change > 0 if metric.better == "lower" else change < 0
    return Text(text, style="" if abs(change) < 0.005 else "red" if worse else "green")


def _ratio(metric: Metric | None, base: Metric | None) -> Text:
    if metric is None or base is None or not base.value:
        return Text("")
    ratio = metric.value / base.value
    good = ratio > 1 if metric.better == "higher" else ratio < 1
    return Text(f"{ratio:.2f}×", style="" if abs(ratio - 1) < 0.03 else "green" if good else "red")


def _speed(metric: Metric | None) -> str:
    if metric is None:
        return ""
    if metric.unit == "s":
        return f"{metric.value:.3g} s"
    return f"{metric.value:,.0f} {metric.unit}"


def _mebibytes(metric: Metric | None) -> str:
    return "" if metric is None else f"{metric.value / 2**20:.1f} MiB"
