"""`benchsuite history`: which commit moved which metric."""

from __future__ import annotations

import fnmatch
import sys
from pathlib import Path

import click

from benchsuite.commands.pytest_arguments import PYTEST, WithPytestArguments
from benchsuite.commands.shared_options import storage_option


@click.command(cls=WithPytestArguments)
@click.argument("span", required=False, metavar="[RANGE]")
@click.option("--run", "measure", is_flag=True, help="Measure the commits of RANGE that have no stored run.")
@click.option("--metric", default="*", metavar="GLOB", help="Only these metrics.")
@click.option("--all", "everything", is_flag=True, help="Print every value too.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write values and steps as JSON here too.")
@storage_option
@click.pass_context
def command(
    context: click.Context,
    span: str | None,
    measure: bool,
    metric: str,
    everything: bool,
    json_file: Path | None,
    storage: Path,
) -> None:
    """Say which commit moved which metric, by how much, and how sure that is.

    \b
        benchsuite history
        benchsuite history v1.0..HEAD --run -- bench --profile quick

    The runs are those in pytest-benchmark's storage (`pytest bench --benchmark-autosave`), by time, or those of the
    commits in RANGE, in git's order. `--run` measures the commits that have none, each in a worktree.
    """
    from benchsuite.errors import UsageError
    from benchsuite.files import require_writable, write_json
    from benchsuite.report.history import history_table, history_to_json
    from benchsuite.verdicts.history import in_order, read_run, read_runs, series_of
    from benchsuite.verdicts.storage import saved_runs
    from benchsuite.verdicts.worktrees import commits_of

    require_writable(json_file, "--json")
    if measure and not span:
        raise UsageError("--run wants a range of commits, such as v1.0..HEAD")
    commits = commits_of(span) if span else None
    runs = read_runs(saved_runs(storage), lambda error: click.echo(f"left out: {error}", err=True))
    if measure:
        done = {run.commit for run in runs}
        for commit in [commit for commit in commits or () if commit not in done]:
            if measured := _measure(commit, context.meta[PYTEST], storage):
                runs.append(read_run(measured))
    chosen = in_order(runs, commits)
    if not chosen:
        where = f" of {span}" if span else ""
        raise UsageError(f"{storage} holds no run{where}; `pytest bench --benchmark-autosave` stores one")
    series = [one for one in series_of(chosen) if fnmatch.fnmatchcase(one.metric, metric)]
    if json_file:
        write_json(json_file, history_to_json(series))
    click.echo(history_table(series, everything=everything), nl=False)


def _measure(commit: str, arguments: list[str], storage: Path) -> Path | None:
    """Measure one commit into the storage; None, with the reason printed, where that commit cannot be measured."""
    from pytest_benchmark import utils

    from benchsuite.errors import FileFormatError
    from benchsuite.verdicts.judge import counted
    from benchsuite.verdicts.runs import Side, run_bench
    from benchsuite.verdicts.storage import next_path
    from benchsuite.verdicts.worktrees import worktree

    click.echo(f"{commit[:10]} …", err=True)
    machine = str(utils.get_machine_id())  # type: ignore[no-untyped-call]
    path = next_path(storage / machine, commit[:10])
    with worktree(commit) as folder:
        side = Side(commit[:10], folder, sys.executable)
        side.check_imports()
        try:
            run, seconds = run_bench(side, arguments, path)
        except FileFormatError as error:  # the bench tests came later than this commit, say
            click.echo(f"left out: {error}", err=True)
            return None
    click.echo(f"    {counted(len(run), 'cell')} in {seconds:.0f} s", err=True)
    return path
