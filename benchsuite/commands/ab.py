"""`benchsuite ab`: two revisions, or two environments, measured by turns and compared."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchsuite.commands.pytest_arguments import PYTEST, WithPytestArguments
from benchsuite.commands.shared_options import verdict_options
from benchsuite.errors import FileFormatError, UsageError

if TYPE_CHECKING:
    from benchsuite.verdicts.runs import Side


@click.command(cls=WithPytestArguments)
@click.argument("revisions", nargs=-1, metavar="[BASE HEAD] -- [PYTEST-ARGS]...")
@click.option("--env-a", metavar="PYTHON", help="The interpreter of side A; with --env-b instead of two revisions.")
@click.option("--env-b", metavar="PYTHON", help="The interpreter of side B.")
@click.option("--runs", default=8, show_default=True, type=click.IntRange(1, 64), help="At most so many runs a side.")
@click.option("--keep", type=click.Path(path_type=Path), help="Where files and logs go  [.benchmarks/ab/TIME].")
@verdict_options
@click.pass_context
def command(
    context: click.Context,
    revisions: tuple[str, ...],
    env_a: str | None,
    env_b: str | None,
    runs: int,
    budgets: tuple[str, ...],
    keep: Path | None,
    everything: bool,
    markdown: Path | None,
    json_file: Path | None,
) -> None:
    """Measure BASE and HEAD, two revisions of this repository, by turns and give the verdicts.

    Each is run in a git worktree of its own, from the repository's root; `.` stands for the files as they are.

    \b
        benchsuite ab main HEAD -- bench --profile quick
        benchsuite ab HEAD .
        benchsuite ab --env-a old/bin/python --env-b new/bin/python -- bench

    Without PYTEST-ARGS it is `bench` where [tool.benchsuite] names precisions, datasets, a limit or a profile, else
    `bench --profile quick`. Runs go on until every gated speed is decided.

    Exit status: 0 no regression, 1 a regression, 2 usage, 3 something missing or not comparable, 130 interrupted.
    """
    from benchsuite.files import require_writable
    from benchsuite.matrix import settings_here
    from benchsuite.report.verdicts import make_report, write_reports
    from benchsuite.verdicts.ab import Trial, run_trial, verdicts
    from benchsuite.verdicts.budgets import make_budgets
    from benchsuite.verdicts.compare import Policy
    from benchsuite.verdicts.judge import counted
    from benchsuite.verdicts.runs import folder_of_runs

    policy = Policy(make_budgets(budgets, settings_here().get("budgets")))
    require_writable(markdown, "--markdown")
    require_writable(json_file, "--json")
    for path in (markdown, json_file):  # what an earlier trial found is not to be taken for what this one finds
        if path and path.is_file():
            path.unlink()
    interrupted, failure = False, None
    with contextlib.ExitStack() as stack:
        trial = Trial(_sides(revisions, env_a, env_b, stack))
        folder = folder_of_runs("ab", keep)
        try:
            run_trial(trial, context.meta[PYTEST], runs, folder, policy, lambda text: click.echo(text, err=True))
        except KeyboardInterrupt:
            interrupted = True
        except FileFormatError as error:  # a run that died costs no result of those before it
            if not all(trial.runs):
                raise
            failure = error
    click.echo(f"files and logs: {folder}", err=True)
    if not all(trial.runs):
        raise click.Abort
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # prompts of items that flipped are quoted where they are at hand
    base, head = trial.merged()
    comparison = verdicts(trial, runs, policy)
    if interrupted or failure:
        after = f"after {counted(len(trial.runs[0]), 'run')} of BASE and {len(trial.runs[1])} of HEAD"
        comparison = comparison.broken_off(f"interrupted {after}" if interrupted else f"broken off {after}: {failure}")
    report = make_report((trial.sides[0].name, trial.sides[1].name), base, head, comparison)
    write_reports(report, everything=everything, markdown_file=markdown, json_file=json_file)
    if failure:
        raise failure
    sys.exit(130 if interrupted else comparison.exit_status)


def _sides(
    revisions: tuple[str, ...], env_a: str | None, env_b: str | None, stack: contextlib.ExitStack
) -> tuple[Side, Side]:
    from benchsuite.verdicts.runs import Side
    from benchsuite.verdicts.worktrees import commit_of, worktree

    if env_a and env_b and not revisions:
        sides = [Side(python, Path.cwd(), python) for python in (env_a, env_b)]
    elif len(revisions) == 2 and not (env_a or env_b):
        commits = [commit_of(revision) for revision in revisions]
        sides = [
            Side(f"{revision} ({commit[:12]})", stack.enter_context(worktree(commit)), sys.executable)
            for revision, commit in zip(revisions, commits, strict=True)
        ]
    else:
        raise UsageError("ab wants two revisions (`benchsuite ab main HEAD`), or --env-a and --env-b")
    for side in sides:
        side.check_imports()
    return sides[0], sides[1]
