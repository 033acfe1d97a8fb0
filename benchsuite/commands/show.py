"""`benchsuite show`: the table of a benchmark file, as the run printed it, or its metrics as CSV."""

from __future__ import annotations

from pathlib import Path

import click

from benchsuite.commands.shared_options import storage_option


@click.command()
@click.argument("run")
@click.option("--csv", type=click.Path(path_type=Path), help="Write a row per cell and metric here too.")
@storage_option
def command(run: str, csv: Path | None, storage: Path) -> None:
    """Print the table of RUN: a file of `pytest bench --benchmark-json`, a directory of shards, or the name or number
    of a run in pytest-benchmark's storage.
    """
    from rich.console import Console

    from benchsuite.files import atomic_write, require_writable
    from benchsuite.records import table_of
    from benchsuite.report.table import print_summary
    from benchsuite.verdicts.compare import read_side
    from benchsuite.verdicts.storage import find_files

    require_writable(csv, "--csv")
    records = list(read_side(find_files(run, storage)).values())
    if csv:
        atomic_write(csv, table_of(records).convert_dtypes().to_csv(index=False))  # counts as whole numbers
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    print_summary(records, console)
