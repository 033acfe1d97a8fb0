"""Options that several commands have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benchsuite.verdicts.storage import STORAGE

Function = Callable[..., Any]


def together(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Several options as one decorator, in the order in which `--help` shows them."""

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


new_directory_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="directory that is written; must be new"
)
storage_option = click.option(
    "--storage",
    type=click.Path(path_type=Path),
    default=STORAGE,
    show_default=True,
    help="Where pytest-benchmark saves its runs.",
)
verdict_options = together(
    click.option(
        "--budget", "budgets", multiple=True, metavar="METRIC[@WHERE]=AMOUNT", help="How much worse is allowed."
    ),
    click.option("--all", "everything", is_flag=True, help="Show every verdict, not only those that tell something."),
    click.option("--markdown", type=click.Path(path_type=Path), help="Write Markdown for a pull request here too."),
    click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the verdicts as JSON here too."),
)
