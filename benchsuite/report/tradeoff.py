"""The picture of what a smaller model costs: quality over size, a panel for each question and dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchsuite.record import Record
from benchsuite.report.curves import new_figure, save_figure
from benchsuite.report.table import QUALITY


def plot_tradeoffs(records: Sequence[Record], stem: Path) -> list[Path]:
    """Write STEM.svg and STEM.png: each measured cell's quality, with its 95 % interval, over the MiB of its weights.

    Returns no files where no record has both. Raises UnavailableError where matplotlib is not installed.
    """
    panels: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        cell = record.cell
        if {QUALITY.get(cell.question, ""), "weight_bytes"} <= set(record.metrics):
            panels.setdefault((cell.question, cell.dataset), []).append(record)
    if not panels:
        return []
    figure, first = new_figure(4.8 * len(panels), 4.0)
    first.remove()
    for place, ((question, dataset), shown) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), place)
        for model in dict.fromkeys(record.cell.model for record in shown):
            own = [record for record in shown if record.cell.model == model]
            metrics = [record.metrics[QUALITY[question]] for record in own]
            sizes = [record.metrics["weight_bytes"].value / 2**20 for record in own]
            values = [metric.value for metric in metrics]
            ends = [metric.interval or (metric.value, metric.value) for metric in metrics]
            below = [value - low for value, (low, _) in zip(values, ends, strict=True)]
            above = [high - value for value, (_, high) in zip(values, ends, strict=True)]
            axes.errorbar(sizes, values, yerr=[below, above], fmt="o", capsize=3, label=model)
            for record, size, value in zip(own, sizes, values, strict=True):
                axes.annotate(
                    record.cell.precision, (size, value), xytext=(4, 4), textcoords="offset points", fontsize=7
                )
        axes.set(title=f"{question}, {dataset}", xlabel="weights (MiB)", ylabel=QUALITY[question].replace("_", " "))
        axes.legend()
    return save_figure(figure, stem)
