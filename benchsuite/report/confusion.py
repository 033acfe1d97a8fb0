"""The picture of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchsuite.report.figures import new_figure, save_figure


def plot_confusion(counts: Sequence[Sequence[int]], labels: Sequence[str], stem: Path) -> list[Path]:
    """Write STEM.svg and STEM.png of `counts` (K, K), rows true and columns predicted, shaded by the row's share."""
    size = 2.0 + 0.7 * len(labels)
    figure = new_figure(size + 1.6, size)
    axes = figure.add_subplot()
    shares = [[count / max(sum(row), 1) for count in row] for row in counts]
    shades = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shades, label="share of the true class")
    for true, row in enumerate(counts):
        for predicted, count in enumerate(row):
            colour = "white" if shares[true][predicted] > 0.5 else "black"
            axes.text(predicted, true, f"{count:,}", ha="center", va="center", color=colour)
    places = range(len(labels))
    axes.set_xticks(places, labels, rotation=30, ha="right")
    axes.set_yticks(places, labels)
    axes.set(xlabel="predicted", ylabel="true")
    return save_figure(figure, stem)
