"""`benchsuite quantize`: write a model in a precision as a directory that can be benchmarked like any other."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from benchsuite.commands.shared_options import new_directory_option


@click.command()
@click.argument("model")
@click.option("--precision", required=True, help="such as absmax8-row, nf4-g64, gptq4-g128 or bnb-nf4")
@click.option("--device", default="cpu", show_default=True, help="auto, cpu or cuda")
@new_directory_option
def command(model: str, precision: str, device: str, output: Path) -> None:
    """Quantize MODEL (a name, a hub id or a directory) and write it in Hugging Face layout.

    `pytest bench --model DIR/` measures what was written.
    """
    from rich.console import Console

    from benchsuite.device import resolve_device
    from benchsuite.models import directory_of, models
    from benchsuite.models.calibration import calibration_windows
    from benchsuite.quant.files import quantize_directory
    from benchsuite.quant.progress import reported_to
    from benchsuite.report.bar import bar
    from benchsuite.report.quantizing import print_written

    device, source = resolve_device(device), directory_of(model)
    loaded = models[model].load(device, "sdpa")
    with bar(f"quantizing {loaded.name} to {precision}") as step, reported_to(step):
        written = quantize_directory(
            loaded.module, source, output, precision, device=device, calibration=partial(calibration_windows, loaded)
        )
    print_written(written, Console())
