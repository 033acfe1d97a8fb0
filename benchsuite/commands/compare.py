"""`benchsuite compare`: the verdicts of two benchmark files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from benchsuite.commands.shared_options import storage_option, verdict_options


@click.command()
@click.argument("base")
@click.argument("head")
@click.option("--across-weights", is_flag=True, help="Compare although the weights differ: two checkpoints.")
@verdict_options
@storage_option
def command(
    base: str,
    head: str,
    budgets: tuple[str, ...],
    across_weights: bool,
    everything: bool,
    markdown: Path | None,
    json_file: Path | None,
    storage: Path,
) -> None:
    """Say for every metric of every cell whether HEAD is better than BASE, the same, worse, or cannot be told.

    BASE and HEAD are files of `pytest bench --benchmark-json`, directories of shards, or names or numbers of runs in
    pytest-benchmark's storage. A comma list or a quoted glob is several runs of one program ('main-*.json'): how far
    they lie apart is counted. A budget is 0.5% of the base, 1pt (a hundredth of a share), a number in the metric's
    unit, or off.

    Exit status: 0 no regression, 1 a regression, 2 usage, 3 something missing or not comparable.
    """
    from benchsuite.files import require_writable
    from benchsuite.matrix import settings_here
    from benchsuite.report.verdicts import make_report, write_reports
    from benchsuite.verdicts.budgets import make_budgets
    from benchsuite.verdicts.compare import Policy, compare, read_side
    from benchsuite.verdicts.replicates import compare_runs, merge_runs, require_one_program
    from benchsuite.verdicts.storage import find_runs

    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # prompts of items that flipped are quoted where they are at hand
    require_writable(markdown, "--markdown")
    require_writable(json_file, "--json")
    rules = make_budgets(budgets, settings_here().get("budgets"))
    policy = Policy(rules, across_weights=across_weights)
    files = [find_runs(given, storage) for given in (base, head)]
    sides = [[read_side(run) for run in side] for side in files]
    for side, paths in zip(sides, files, strict=True):
        require_one_program(side, [str(run[0]) for run in paths])
    old, new = (merge_runs(side) for side in sides)
    rules.check_used(record for side in (old, new) for record in side.values())
    several = any(len(side) > 1 for side in sides)
    comparison = compare_runs(sides[0], sides[1], policy) if several else compare(old, new, policy)
    names = [
        str(side[0][0]) if len(side) == len(side[0]) == 1 else given
        for side, given in zip(files, (base, head), strict=True)
    ]
    report = make_report((names[0], names[1]), old, new, comparison)
    write_reports(report, everything=everything, markdown_file=markdown, json_file=json_file)
    sys.exit(comparison.exit_status)
