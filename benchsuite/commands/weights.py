"""`benchsuite weights`: pictures of a model's weights before and after precisions."""

from __future__ import annotations

from pathlib import Path

import click

from benchsuite.commands.shared_options import new_directory_option


@click.command()
@click.argument("model")
@click.option("--precision", "precisions", multiple=True, required=True, help="names, comma lists, globs; repeatable")
@click.option("--device", default="cpu", show_default=True, help="auto, cpu or cuda")
@new_directory_option
def command(model: str, precisions: tuple[str, ...], device: str, output: Path) -> None:
    """Draw the distribution of MODEL's weights before and after each precision, and the error of each layer."""
    from benchsuite.device import resolve_device
    from benchsuite.files import new_directory
    from benchsuite.models import models
    from benchsuite.models.calibration import calibration_windows
    from benchsuite.quant import precision
    from benchsuite.quant.progress import reported_to
    from benchsuite.report.bar import bar
    from benchsuite.report.weights import draw_weights

    names, device = precision.precisions.select(precisions), resolve_device(device)
    source = models[model]
    with new_directory(output) as new, bar(f"drawing {source.name}") as step, reported_to(step):
        written = draw_weights(
            lambda: source.load(device, "sdpa").module,
            names,
            new,
            model=source.name,
            device=device,
            calibration=lambda dataset: calibration_windows(source.load(device, "sdpa"), dataset),
        )
    click.echo("\n".join(str(output / path.name) for path in written))
