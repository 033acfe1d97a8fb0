"""The picture of a training run: losses over epochs, with the tokens seen as a second axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchsuite.report.figures import new_figure, save_figure


def plot_losses(history: Sequence[Mapping[str, float]], stem: Path) -> list[Path]:
    """Write STEM.svg and STEM.png of Trainer's log: train and validation loss (nats) over epochs and tokens.

    Raises UnavailableError where matplotlib is not installed.
    """
    figure = new_figure(6.4, 4.0)
    axes = figure.add_subplot()
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
