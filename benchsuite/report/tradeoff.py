"""The picture of what a smaller model costs: quality over size, a panel for each question and dataset."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from benchsuite.record import Record
from benchsuite.report.figures import new_figure, save_figure
from benchsuite.report.table import QUALITY

# Paul Tol's "muted" scheme and black: told apart by colour-blind readers too
COLOURS = ("black", "#332288", "#cc6677", "#117733", "#ddcc77", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499")
MARKERS = "os^Dv"


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
    figure = new_figure(4.8 * len(panels) + 1.5, 4.0)
    cells = [record.cell for shown in panels.values() for record in shown]
    colours = dict(zip(dict.fromkeys(cell.precision for cell in cells), itertools.cycle(COLOURS), strict=False))
    markers = dict(zip(dict.fromkeys(cell.model for cell in cells), itertools.cycle(MARKERS), strict=False))
    for place, ((question, dataset), shown) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), place)
        for record in shown:
            metric, size = record.metrics[QUALITY[question]], record.metrics["weight_bytes"].value / 2**20
            low, high = metric.interval or (metric.value, metric.value)
            axes.errorbar(
                [size], [metric.value], yerr=[[metric.value - low], [high - metric.value]], capsize=3,
                marker=markers[record.cell.model], color=colours[record.cell.precision],
            )  # fmt: skip
        axes.set(title=f"{question}, {dataset}", xlabel="weights (MiB)", ylabel=QUALITY[question].replace("_", " "))
        axes.grid(alpha=0.3)
    keys = [axes.plot([], [], "o", color=colour, label=precision)[0] for precision, colour in colours.items()]
    if len(markers) > 1:
        keys += [axes.plot([], [], marker, color="grey", label=model)[0] for model, marker in markers.items()]
    figure.legend(handles=keys, loc="outside right upper", fontsize=8)
    return save_figure(figure, stem)
