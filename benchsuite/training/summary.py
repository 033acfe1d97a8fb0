"""The table that answers what quantizing a classifier cost: the baseline and everything that was made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchsuite.files import atomic_write, write_json
from benchsuite.record import Items, Record
from benchsuite.report.columns import markdown_table
from benchsuite.stats import paired_proportion

COLUMNS = ("accuracy", "macro F1", "change of accuracy (95 %)", "size", "compression", "samples/s")


def write_summary(records: Mapping[str, Record], baseline: str, directory: Path) -> str:
    """Write summary.json and summary.md of records of one test split; returns the Markdown table.

    The interval of the change is of the same texts answered twice (Tango 1998), so that what is hard for both cancels.
    """
    rows = {name: _row(record, records[baseline]) for name, record in records.items()}
    write_json(directory / "summary.json", {"baseline": baseline, "rows": rows})
    table = _markdown(rows, records[baseline])
    atomic_write(directory / "summary.md", table)
    return table


def _row(record: Record, baseline: Record) -> dict[str, Any]:
    metrics, base = record.metrics, baseline.metrics
    row: dict[str, Any] = {
        "precision": record.cell.precision,
        "accuracy": metrics["accuracy"].value,
        "macro_f1": metrics["macro_f1"].value,
    }
    if "weight_bytes" in metrics:  # under QAT neither size nor speed is the precision's
        row["weight_bytes"] = int(metrics["weight_bytes"].value)
        row["compression"] = base["weight_bytes"].value / metrics["weight_bytes"].value
        row["samples_per_s"] = metrics["samples_per_s"].value
    before, after = base["accuracy"].evidence, metrics["accuracy"].evidence
    if record is not baseline and isinstance(before, Items) and isinstance(after, Items):
        change = paired_proportion(before.outcomes, after.outcomes)
        row["accuracy_change"] = change.value
        row["accuracy_change_interval"] = list(change.interval())
    return row


def _markdown(rows: Mapping[str, Mapping[str, Any]], baseline: Record) -> str:
    title = f"{baseline.cell.model} on {baseline.cell.dataset}: {baseline.metrics['accuracy'].n:,} test texts"
    table = [("", *COLUMNS)]
    for name, row in rows.items():
        change = ""
        if "accuracy_change" in row:
            low, high = row["accuracy_change_interval"]
            change = f"{100 * row['accuracy_change']:+.2f} pt ({100 * low:+.2f} to {100 * high:+.2f})"
        table.append(
            (
                name,
                f"{100 * row['accuracy']:.2f} %",
                f"{row['macro_f1']:.4f}",
                change,
                f"{row['weight_bytes'] / 1e6:,.1f} MB" if "weight_bytes" in row else "",
                f"{row['compression']:.2f}×" if "compression" in row else "",
                f"{row['samples_per_s']:,.0f}" if "samples_per_s" in row else "",
            )
        )
    return "\n".join([title, "", *markdown_table(table, left=1), ""])
