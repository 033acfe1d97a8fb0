"""Send what was measured to a tracker: wandb, tensorboard or trackio.

Each cell is a run of its own, so that a tracker can compare them by their configuration; one more holds the table and
the pictures. Nothing is sent before all is measured: what a tracker does in the background would be in the timings.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchsuite.errors import OutputError, UnavailableError, UnknownNameError, UsageError
from benchsuite.record import Record, to_json
from benchsuite.report.columns import markdown_table
from benchsuite.report.tradeoff import plot_tradeoffs

TRACKERS = ("wandb", "tensorboard", "trackio")  # each is the name of its package too
PROJECT = "benchsuite"


@dataclass(frozen=True)
class Run:
    """What one run in a tracker shows. `pictures` are PNG files; `resumed` goes on with the run of that name."""

    name: str
    group: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    table: Sequence[Mapping[str, Any]] = ()
    pictures: Sequence[Path] = ()
    resumed: bool = False


def require_trackers(trackers: Iterable[str]) -> None:
    """Find out before anything runs: UnknownNameError, UnavailableError with the line that installs a tracker, or
    UsageError where wandb knows no account."""
    for tracker in trackers:
        if tracker not in TRACKERS:
            raise UnknownNameError("tracker", tracker, TRACKERS)
        for package, requirement in ((tracker, tracker), ("matplotlib", "benchsuite[plots]")):
            if importlib.util.find_spec(package) is None:
                raise UnavailableError(
                    f"--track {tracker}: {package} is not installed; `pip install '{requirement}'` installs it"
                )
        if tracker == "wandb":
            wandb = importlib.import_module("wandb")
            try:
                wandb.login()
            except wandb.Error as error:
                raise UsageError(f"--track wandb: {error} WANDB_MODE=offline needs no account") from error


def track_matrix(tracker: str, records: Sequence[Record], name: str, folder: Path = Path("runs")) -> None:
    """A run for each measured cell in the group `name`, and the run `name/table` with the table and the pictures.

    tensorboard writes into TENSORBOARD_LOGGING_DIR, or else into `folder`. OutputError where nothing can be sent.
    """
    for record in records:
        if record.status == "passed":
            label = f"{name}/{record.cell.label()}"
            track(tracker, Run(label, name, config_of(record), metrics_of(record)), folder)
    with tempfile.TemporaryDirectory() as temporary:
        pictures = [path for path in plot_tradeoffs(records, Path(temporary) / "quality") if path.suffix == ".png"]
        track(tracker, Run(f"{name}/table", name, table=list(map(row_of, records)), pictures=pictures), folder)


def track_training(
    trackers: Iterable[str],
    record: Record,
    directory: Path,
    *,
    table: Sequence[Mapping[str, Any]] = (),
    pictures: Iterable[Path],
) -> None:
    """What a training run in `directory` found, into the run that followed its losses (the same name)."""
    shown = [path for path in pictures if path.suffix == ".png"]
    run = Run(directory.name, "", config_of(record), metrics_of(record), table, shown, resumed=True)
    for tracker in trackers:
        track(tracker, run, directory / "runs")


def track(tracker: str, run: Run, folder: Path) -> None:
    """Send one run; tensorboard writes it below TENSORBOARD_LOGGING_DIR, or else below `folder`."""
    board = tracker == "tensorboard"
    module: Any = importlib.import_module("torch.utils.tensorboard" if board else tracker)
    try:
        if board:
            root = Path(os.environ.get("TENSORBOARD_LOGGING_DIR", folder)).expanduser()
            _write_events(module, run, root / run.name)
        else:
            _send(module, run)
    except (OSError, getattr(module, "Error", OSError)) as error:
        raise OutputError(f"{tracker} could not take {run.name}: {error}; the benchmark file has all of it") from error


def metrics_of(record: Record) -> dict[str, float]:
    """Every metric by name; the ends of a 95 % interval as NAME_low and NAME_high."""
    found: dict[str, float] = {}
    for name, metric in record.metrics.items():
        found[name] = metric.value
        if metric.interval:
            found[f"{name}_low"], found[f"{name}_high"] = metric.interval
    return found


def config_of(record: Record) -> dict[str, Any]:
    """What fixed the numbers of a record: the cell, and all of the record that is no figure and no text."""
    whole = to_json(record)
    parts = ("protocol", "fingerprints", "coverage", "kernels", "machine", "excluded")
    return {**record.cell.columns(), **{part: whole[part] for part in parts}}


def row_of(record: Record) -> dict[str, Any]:
    """A record as a row of the table: the cell, its metrics, and why it has none."""
    values = {name: metric.value for name, metric in record.metrics.items()}
    return {**record.cell.columns(), "status": record.status, "reason": record.reason, **values}


def _send(module: Any, run: Run) -> None:
    """To wandb or trackio, which have one interface."""
    shown: dict[str, Any] = dict(run.metrics)
    if run.table:
        columns = list(dict.fromkeys(name for row in run.table for name in row))
        shown["table"] = module.Table(columns=columns, data=[[row.get(name) for name in columns] for row in run.table])
    shown |= {path.stem: module.Image(str(path)) for path in run.pictures}
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    module.init(project=project, name=run.name, group=run.group or None, resume="allow" if run.resumed else "never")
    module.config.update(dict(run.config), allow_val_change=True)
    module.log(shown)
    module.finish()


def _write_events(tensorboard: Any, run: Run, directory: Path) -> None:
    from matplotlib.image import imread

    plain = {name: value for name, value in run.config.items() if isinstance(value, bool | int | float | str)}
    with tensorboard.SummaryWriter(str(directory)) as writer:
        if run.metrics:  # scalars, and the row of the tab HPARAMS
            writer.add_hparams(plain, dict(run.metrics), run_name=".")
        if run.config:
            text = json.dumps(run.config, indent=2, ensure_ascii=False)
            writer.add_text("config", f"```\n{text}\n```")
        if run.table:
            writer.add_text("table", _markdown(run.table))
        for path in run.pictures:
            writer.add_image(path.stem, imread(path), dataformats="HWC")


def _markdown(table: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in table for name in row))

    def text(cell: Any) -> str:
        return "" if cell is None else f"{cell:.5g}" if isinstance(cell, float) else str(cell)

    rows = [columns, *([text(row.get(name)) for name in columns] for row in table)]
    return "\n".join(markdown_table(rows, left=len(columns)))
