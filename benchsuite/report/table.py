"""The table of a run: a row per cell, each figure beside its change against the reference precision.

Cells that differ in precision (or engine) only stand under each other, so that the table fits 80 columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from benchsuite.matrix import REFERENCE
from benchsuite.record import Cell, Metric, Record
from benchsuite.verdicts.judge import surely_differs

# the one figure that stands for a question's quality, and the one that stands for its speed
QUALITY = {
    "perplexity": "perplexity",
    "divergence": "kl_mean",
    "exact_match": "exact_match",
    "classification": "accuracy",
    "instructions": "exact_match",
}
SPEED = {"generation": "decode_tokens_per_s", "quantizing": "quantizing_s"}
NAMES = {
    "perplexity": "perplexity",
    "kl_mean": "KL divergence in nats",
    "exact_match": "exact match in %",
    "accuracy": "accuracy in %",
}
HEADINGS = (
    ("", "precision"),
    ("", "quality"),
    ("", "change"),
    ("speed", "tok/s"),
    ("", "ratio"),
    ("weights", "MiB"),
    ("", "ratio"),
    ("peak", "MiB"),
    ("", "ratio"),
)

Row = tuple[Text, ...]


def print_summary(records: Sequence[Record], console: Console) -> None:
    """Print the table of the measured cells, then what was skipped, failed or left out, with the reason."""
    measured = [record for record in records if record.status == "passed"]
    references = {record.cell: record for record in measured if record.cell.precision == REFERENCE}
    if measured:
        for line in _table(measured, references):
            console.print(line, soft_wrap=True)
        if limits := {limit for record in measured if record.protocol.get("limit") and (limit := record.cell.limit)}:
            numbers = " or ".join(map(str, sorted(limits)))
            console.print(Text(f"Limited to {numbers} examples a dataset; intervals say what that leaves open."))
        for model, bits in _quantized_before(references.values()).items():
            console.print(
                Text(f"{model} was quantized before: its {REFERENCE} is weights of {bits:.4g} bits as they are.")
            )
    reasons: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.reason:
            reasons.setdefault((record.status, record.reason.splitlines()[-1]), []).append(record.cell.label())
    for (status, reason), labels in reasons.items():
        more = f" and {len(labels) - 1} more cell{'s' * (len(labels) > 2)}" if len(labels) > 1 else ""
        style = {"passed": "", "skipped": "yellow"}.get(status, "red")
        console.print(Text(f"{status}: {labels[0]}{more}: {reason}", style=style))


def _quantized_before(references: Iterable[Record]) -> dict[str, float]:
    """Models that hold packed weights before a precision is applied, and their bits a linear weight."""
    found = {}
    for record in references:
        bits = record.coverage.get("bits_per_weight")
        if record.coverage.get("share") and isinstance(bits, int | float):
            found[record.cell.model] = bits
    return found


def _table(measured: Sequence[Record], references: dict[Cell, Record]) -> list[Text]:
    together: dict[Cell, list[Record]] = {}  # precisions stand under each other
    for record in measured:
        together.setdefault(_group(record.cell), []).append(record)
    rows = [(group, _row(record, references)) for group, records in together.items() for record in records]
    headings = [tuple(Text(line, style="bold") for line in lines) for lines in zip(*HEADINGS, strict=True)]
    widths = [max(map(len, column)) for column in zip(*headings, *(row for _, row in rows), strict=True)]
    lines = [Text(_title(measured), style="italic"), *(_line(row, widths) for row in headings)]
    width = max(len(_line(row, widths)) for row in (*headings, *(row for _, row in rows)))
    for group, members in itertools.groupby(rows, key=lambda pair: pair[0]):
        lines += [_heading(group, width), *(_line(row, widths) for _, row in members)]
    return lines


def _row(record: Record, references: dict[Cell, Record]) -> Row:
    cell = record.cell
    reference = references.get(replace(_group(cell), precision=REFERENCE))
    base = reference.metrics if reference and reference is not record else {}
    quality, speed = QUALITY.get(cell.question, ""), SPEED.get(cell.question, "tokens_per_s")
    engine = "" if cell.engine == "native" else f" {cell.engine} {record.protocol.get('format', '')}".rstrip()
    weights, peak = record.metrics.get("weight_bytes"), record.metrics.get("peak_memory_bytes")
    return (
        Text(cell.precision + engine),
        Text(_quality(record.metrics.get(quality))),
        _change(record.metrics.get(quality), base.get(quality)),
        Text(_speed(record.metrics.get(speed))),
        _ratio(record.metrics.get(speed), base.get(speed)),
        Text(_mebibytes(weights)),
        _ratio(weights, base.get("weight_bytes") or record.metrics.get("bytes_before")),
        Text(_mebibytes(peak)),
        _ratio(peak, base.get("peak_memory_bytes")),
    )


def _line(row: Row, widths: Sequence[int]) -> Text:
    """The first figure to the left, the others to the right, and a little more room before each that is no ratio."""
    line = Text()
    for place, (text, width, (_, heading)) in enumerate(zip(row, widths, HEADINGS, strict=True)):
        room = Text(" " * (width - len(text)))
        line.append(" " if place == 0 or heading == "ratio" else "  ")
        line.append_text(Text.assemble(text, room) if place == 0 else Text.assemble(room, text))
    line.rstrip()
    return line


def _heading(group: Cell, width: int) -> Text:
    """What the rows below have in common, and what their quality is."""
    batch = f"batch {group.batch_size}" if group.question in ("generation", "training") else ""
    options = " ".join(f"{name}={value}" for name, value in group.options)
    attention = group.attention if group.attention != "sdpa" else ""
    words = " ".join(filter(None, (group.question, group.model, group.dataset, batch, attention, options)))
    name = QUALITY.get(group.question, "")
    said = f"{words}: {NAMES.get(name, name)}" if name else words
    return Text(f"── {said} ".ljust(width, "─"), style="dim")


def _title(measured: Sequence[Record]) -> str:
    machine = measured[0].machine
    where = machine.get("gpu", {}).get("name") or machine.get("processor", "")
    cells = f"{len(measured)} cell{'s' * (len(measured) != 1)}"
    return f"benchsuite: {cells} on {where}, {machine.get('threads')} threads; ratios to {REFERENCE}"


def _group(cell: Cell) -> Cell:
    """What cells under each other have in common: other engines stand beside ours."""
    return replace(cell, precision="", engine="native")


def _quality(metric: Metric | None) -> str:
    if metric is None:
        return ""
    if metric.unit == "share":
        spread = f" ± {_half_width(metric) * 100:.1f}" if metric.interval else ""
        return f"{metric.value * 100:.1f}{spread}"
    return f"{metric.value:#.4g}" if abs(metric.value) < 999.95 else f"{metric.value:,.0f}"


def _half_width(metric: Metric) -> float:
    low, high = metric.interval or (metric.value, metric.value)
    return max(high - metric.value, metric.value - low)  # near 0 and 100 % the longer side is what is left open


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
    if abs(change) < 0.005 or not surely_differs(base, metric):
        return Text(text)
    return Text(text, style="red" if worse else "green")


def _ratio(metric: Metric | None, base: Metric | None) -> Text:
    if metric is None or base is None or not base.value:
        return Text("")
    ratio = metric.value / base.value
    good = ratio > 1 if metric.better == "higher" else ratio < 1
    return Text(f"{ratio:.2f}×", style="" if abs(ratio - 1) < 0.03 else "green" if good else "red")


def _speed(metric: Metric | None) -> str:
    if metric is None:
        return ""
    return f"{metric.value:.3g} s" if metric.unit == "s" else f"{metric.value:,.0f}"


def _mebibytes(metric: Metric | None) -> str:
    return "" if metric is None else f"{metric.value / 2**20:.1f}"
