"""`benchsuite show`: the table of a benchmark file, as the run printed it."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Print the table of FILE, which `pytest bench --benchmark-json=FILE` wrote."""
    from rich.console import Console

    from benchsuite.records import read_records
    from benchsuite.report.table import print_summary

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    print_summary(read_records(file), console)
