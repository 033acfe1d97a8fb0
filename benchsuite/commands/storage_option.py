"""`--storage`, which the commands that read saved runs have in common."""

from __future__ import annotations

from pathlib import Path

import click

storage_option = click.option(
    "--storage",
    type=click.Path(path_type=Path),
    default=Path(".benchmarks"),
    show_default=True,
    help="Where pytest-benchmark saves its runs.",
)
