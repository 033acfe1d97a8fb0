"""`benchsuite calibrate`: how far two runs of the same code lie apart on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from benchsuite.commands.pytest_arguments import PYTEST, WithPytestArguments


@click.command(cls=WithPytestArguments)
@click.option("--runs", default=5, show_default=True, type=click.IntRange(2, 64), help="Runs of the same code.")
@click.option(
    "--from", "folder", type=click.Path(path_type=Path), help="Use the runs that lie here instead of new ones."
)
@click.option("--limits", "only_limits", is_flag=True, help="Only the machine's limits: some seconds, and no runs.")
@click.option("--device", default="auto", show_default=True, help="Whose limits are measured.")
@click.pass_context
def command(context: click.Context, runs: int, folder: Path | None, only_limits: bool, device: str) -> None:
    """Run the same code several times in fresh processes and keep how far the runs lie apart.

    \b
        benchsuite calibrate -- bench --profile quick

    The spread of each kind of measurement is kept beside the machine's fingerprint, where `benchsuite compare` finds
    it. So are the machine's limits (memory reads, products by dtype), against which `--profile-cells` holds a cell.
    Printed is the smallest slowdown that so many rounds will find. What is run stands behind `--`; without it, it is
    `bench` where [tool.benchsuite] names precisions, datasets, a limit or a profile, else `bench --profile quick`. The
    files stay in .benchmarks/calibrate, and `--from` takes them up again.
    """
    from benchsuite.device import resolve_device
    from benchsuite.errors import UsageError
    from benchsuite.measure.limits import measure_limits, write_limits
    from benchsuite.report.noise import noise_table
    from benchsuite.report.roofline import limits_line
    from benchsuite.verdicts.compare import read_side
    from benchsuite.verdicts.judge import counted
    from benchsuite.verdicts.noise import write_noise
    from benchsuite.verdicts.replicates import noise_of_runs
    from benchsuite.verdicts.runs import Side, folder_of_runs, run_bench
    from benchsuite.verdicts.storage import find_files

    if only_limits or not folder:
        limits = measure_limits(resolve_device(device))
        click.echo(f"{limits_line(limits)}\nkept in {write_limits(limits)}")
    if only_limits:
        return
    if folder:
        found = [read_side([path]) for path in find_files(str(folder))]
    else:
        side = Side("this machine", Path.cwd(), sys.executable)
        folder = folder_of_runs("calibrate")
        found = []
        for count in range(runs):
            click.echo(f"run {count + 1} of {runs} …", err=True)
            run, seconds = run_bench(side, context.meta[PYTEST], folder / f"{count + 1}.json")
            click.echo(f"    {counted(len(run), 'cell')} in {seconds:.0f} s", err=True)
            found.append(run)
    machines = {str(record.machine.get("fingerprint")) for run in found for record in run.values() if record.machine}
    if len(machines) != 1 or len(found) < 2:
        raise UsageError(f"{folder}: {len(found)} runs on {len(machines)} machines; wanted at least 2 runs on one")
    floor = noise_of_runs([found], machines.pop())
    if floor is None or not floor.spreads:
        raise UsageError(f"{folder}: no clock that all runs have read; measure something that has a speed")
    click.echo(noise_table(floor))
    click.echo(f"kept in {write_noise(floor)}")
