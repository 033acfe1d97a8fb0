"""Options that commands on saved runs and on verdicts have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from benchsuite.verdicts.storage import STORAGE

F = TypeVar("F", bound=Callable[..., Any])

storage_option = click.option(
    "--storage",
    type=click.Path(path_type=Path),
    default=STORAGE,
    show_default=True,
    help="Where pytest-benchmark saves its runs.",
)
_VERDICTS = (
    click.option(
        "--budget", "budgets", multiple=True, metavar="METRIC[@WHERE]=AMOUNT", help="How much worse is allowed."
    ),
    click.option("--all", "everything", is_flag=True, help="Show every verdict, not only those that tell something."),
    click.option("--markdown", type=click.Path(path_type=Path), help="Write Markdown for a pull request here too."),
    click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the verdicts as JSON here too."),
)


def verdict_options(function: F) -> F:
    """`--budget`, `--all`, `--markdown` and `--json`."""
    for option in reversed(_VERDICTS):
        function = option(function)
    return function
