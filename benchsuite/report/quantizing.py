"""What quantizing a model to a directory did, as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from benchsuite.quant.files import Written


def print_written(written: Written, console: Console) -> None:
    """Print sizes, coverage, seconds and the layers with the most noise."""
    covered = written.coverage
    facts = Table(show_header=False, box=None)
    for label, value in (
        ("in memory", f"{covered.bytes_before:,} bytes before, {covered.bytes_after:,} after"),
        ("compression", f"{written.compression:.2f} times smaller"),
        ("on disk", f"{written.file_bytes:,} bytes of safetensors"),
        ("covered", f"{covered.share:.1%} of {covered.linear_weights:,} linear weights"),
        ("bits per weight", f"{covered.bits_per_weight:.3f} with scales and zero points"),
        ("time", f"{covered.seconds:.2f} s"),
        ("calibration", covered.calibration),
    ):
        if value:
            facts.add_row(label, value)
    console.print(facts)
    if worst := written.worst_layers():
        layers = Table(title="layers with the most noise", title_justify="left")
        layers.add_column("layer", overflow="fold")
        for column in ("signal to noise (dB)", "largest error", "proven bound"):
            layers.add_column(column, justify="right")
        for layer in worst:
            bound = "none" if layer.bound is None else f"{layer.bound:.3g}"
            layers.add_row(layer.name, f"{layer.snr_db:.1f}", f"{layer.max_error:.3g}", bound)
        console.print(layers)
    console.print(f"written to {written.directory}", soft_wrap=True)
