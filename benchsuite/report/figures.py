"""Figures in the formats of a report, and those who have no matplotlib told what to install."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from benchsuite.errors import UnavailableError
from benchsuite.files import atomic_write

FORMATS = ("svg", "png")


def new_figure(width: float, height: float) -> Any:
    """An empty figure of `width` × `height` inches, without pyplot's global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnavailableError("pictures need matplotlib; `pip install 'benchsuite[plots]'` installs it") from error
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, stem: Path) -> list[Path]:
    """Write the figure as STEM.svg and STEM.png, the same bytes for the same picture."""
    from matplotlib import rc_context

    written = []
    for form in FORMATS:
        content = io.BytesIO()
        with rc_context({"svg.hashsalt": "benchsuite"}):
            figure.savefig(content, format=form, dpi=150, metadata={"Date": None} if form == "svg" else None)
        written.append(atomic_write(stem.with_name(f"{stem.name}.{form}"), content.getvalue()))
    return written
