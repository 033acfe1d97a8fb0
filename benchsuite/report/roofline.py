"""The roofline of a cell for people: a table, and the picture of Williams, Waterman & Patterson (2009)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchsuite.report.columns import aligned
from benchsuite.report.figures import new_figure, save_figure

if TYPE_CHECKING:
    from benchsuite.measure.limits import Limits
    from benchsuite.measure.roofline import Part

HEADINGS = ("part", "GFLOP", "read MB", "FLOP/B", "ms", "GFLOP/s", "GB/s", "of the limit")


def roofline_table(parts: Sequence[Part], limits: Limits | None) -> str:
    """A row per part: its work, its speed, and the share of the machine's limit that it reached."""
    if not parts:
        return "FLOP and bytes are counted for our own GPT-2, generating or evaluating: not here.\n"
    rows: list[tuple[str, ...]] = [HEADINGS]
    for part in parts:
        share = "unknown" if part.share is None else f"{100 * part.share:.0f} %"
        figures = (
            part.flop / 1e9, part.bytes_read / 1e6, part.flop / part.bytes_read, 1e3 * part.seconds,
            part.flop / part.seconds / 1e9, part.bytes_read / part.seconds / 1e9,
        )  # fmt: skip
        rows.append((part.name, *(f"{figure:,.4g}" for figure in figures), share))
    return "\n".join([*aligned(rows, left=1), "", limits_line(limits), ""])


def limits_line(limits: Limits | None) -> str:
    """What the machine can do, or what measures it."""
    if limits is None:
        return "The machine's limits were not measured here: run `benchsuite calibrate --limits`."
    rates = ", ".join(f"{dtype} {rate / 1e9:,.0f} GFLOP/s" for dtype, rate in limits.flop_per_s.items())
    return f"The machine reads {limits.bytes_per_s / 1e9:,.1f} GB/s; products: {rates}."


def draw_roofline(parts: Sequence[Part], limits: Limits, title: str, stem: Path) -> list[Path]:
    """Write STEM.svg and STEM.png: a roof per dtype, and each part under it; a line leads up to the part's own limit.

    Raises UnavailableError where matplotlib is not installed.
    """
    figure = new_figure(6.4, 4.4)
    axes = figure.add_subplot()
    intensities = [part.flop / part.bytes_read for part in parts]
    ridges = [rate / limits.bytes_per_s for rate in limits.flop_per_s.values()]
    low, high = min(*intensities, *ridges) / 4, max(*intensities, *ridges) * 4
    span = np.geomspace(low, high, 200)  # FLOP per byte
    for dtype, rate in limits.flop_per_s.items():
        roof = np.minimum(span * limits.bytes_per_s, rate) / 1e9
        axes.plot(span, roof, linewidth=1.4, label=f"{dtype} {rate / 1e9:,.0f} GFLOP/s")
    for part, intensity, marker in zip(parts, intensities, "osD", strict=False):
        reached = part.flop / part.seconds / 1e9
        share = "" if part.share is None else f", {100 * part.share:.0f} % of its limit"
        axes.plot(intensity, reached, marker, color="black", label=f"{part.name}{share}")
        if part.least_s is not None:
            axes.vlines(intensity, reached, part.flop / part.least_s / 1e9, color="black", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="work per byte read (FLOP/B)", ylabel="GFLOP/s", xlim=(low, high))
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(title=f"memory {limits.bytes_per_s / 1e9:,.1f} GB/s", fontsize=8, title_fontsize=8, loc="lower right")
    return save_figure(figure, stem)
