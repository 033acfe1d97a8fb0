"""The picture of a training run: losses over epochs, with the tokens seen as a second axis."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchsuite.files import atomic_write

FORMATS = ("svg", "png")


def plot_losses(history: Sequence[Mapping[str, float]], stem: Path) -> list[Path]:
    """Write STEM.svg and STEM.png of Trainer's log: train and validation loss (nats) over epochs and tokens.

    Raises UnavailableError where matplotlib is not installed.
    """
    figure, axes = new_figure(6.4, 4.0)
    from matplotlib.ticker import EngFormatter

    for key, label, style in (("loss", "train", {}), ("eval_loss", "validation", {"marker": "o"})):
        points = [(entry["epoch"], entry[key]) for entry in history if key in entry]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, **style)
    axes.set(xlabel="epochs", ylabel="loss (nats)")
    axes.legend()
    seen = [(entry["epoch"], entry["num_input_tokens_seen"]) for entry in history if entry.get("num_input_tokens_seen")]
    if seen:
        tokens_an_epoch = seen[-1][1] / seen[-1][0]
        tokens = axes.secondary_xaxis("top", functions=(lambda x: x * tokens_an_epoch, lambda x: x / tokens_an_epoch))
        tokens.set_xlabel("tokens seen")
        tokens.xaxis.set_major_formatter(EngFormatter())
    return save_figure(figure, stem)


def new_figure(width: float, height: float) -> tuple[Any, Any]:
    """A figure of `width` × `height` inches and its axes, without pyplot's global state."""
    from benchsuite.errors import UnavailableError

    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnavailableError("pictures need matplotlib; `pip install 'benchsuite[plots]'` installs it") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


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
